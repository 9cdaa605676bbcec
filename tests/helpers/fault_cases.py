"""Faults that can befall a deployment, each with what must become of it: the arm rides it through, or it stops."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from fault_rig import MODEL_PERIOD, Rig, stop

from hardware.errors import RobotError
from planners.plan import Plan
from robot_ctrl.realtime.planning_messages import EpisodePlan
from robot_ctrl.realtime.schedule import PlanFrom

Ends = Literal["rides", "stops", "rests"]


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        strike: makes it happen to an arm on the move.
        ends: "rides" goes on moving, "stops" is a latched fault, "rests" stands without a fault.
        says: what the message must name.
        within: s to a commanded velocity of zero.
        patience: s to wait for that.
    """

    strike: Callable[[Rig], None]
    ends: Ends
    says: str = ""
    within: float = 0.4
    patience: float = 1.2


def bus(fault: str) -> Callable[[Rig], None]:
    return lambda rig: rig.inject(fault)


def no_plans(rig: Rig) -> None:
    rig.plan = lambda seen: None


def planner_raises_once(rig: Rig) -> None:
    """A planner process catches it and plans again: one plan is missing."""
    sway, left = rig.plan, [1]

    def plan(seen: object) -> object:
        if left:
            left.pop()
            return None
        return sway(seen)  # type: ignore[arg-type]

    rig.plan = plan  # type: ignore[assignment]


def overrun(factor: float) -> Callable[[Rig], None]:
    def strike(rig: Rig) -> None:
        rig.plan_delay = factor * MODEL_PERIOD

    return strike


def changed(change: Callable[[Plan, Rig], Plan | PlanFrom]) -> Callable[[Rig], None]:
    def strike(rig: Rig) -> None:
        rig.plan = lambda seen: change(rig.sway(seen), rig)

    return strike


def refused_when_made(actions: object) -> Callable[[Rig], None]:
    """A plan that cannot even be made: the planner raises, and no plan comes."""

    def strike(rig: Rig) -> None:
        def plan(seen: object) -> Plan | None:
            try:
                return replace(rig.sway(seen), actions=np.asarray(actions, np.float32))  # type: ignore[arg-type]
            except ValueError:
                return None

        rig.plan = plan  # type: ignore[assignment]

    return strike


def old_queue(rig: Rig) -> None:
    """Plans of an episode that is over."""
    put = rig.channels.plans.put

    def put_old(message: object) -> None:
        put(replace(message, episode=7) if isinstance(message, EpisodePlan) else message)  # type: ignore[type-var]

    rig.channels.plans.put = put_old  # type: ignore[method-assign]


def starve(seconds: float) -> Callable[[Rig], None]:
    """The computer does something else for a while."""

    def strike(rig: Rig) -> None:
        rig.clock.sleep_until(rig.clock.now() + seconds)

    return strike


def supervisor_gone(rig: Rig) -> None:
    rig.supervised = False


def recorder_hangs(rig: Rig) -> None:
    rig.recording = False


def wall_clock_jumps(rig: Rig) -> None:
    """Nothing in the loop reads the wall clock."""
    import time

    real = time.time
    time.time = lambda: real() - 86400.0
    rig.undo = lambda: setattr(time, "time", real)


def stop_fails(rig: Rig) -> None:
    def fail(reason: str) -> None:
        raise RobotError("the port is gone")

    rig.robot.stop = fail  # type: ignore[method-assign]
    rig.inject("cable-pulled+60")


def connected_twice(rig: Rig) -> None:
    rig.robot.connect()


def exception_in_reading(rig: Rig) -> None:
    def fail() -> object:
        raise RobotError("the adapter's driver gave an answer that makes no sense")

    rig.robot.get_observation = fail  # type: ignore[method-assign,assignment]


def nan_command(rig: Rig) -> None:
    rig.control._motion = Spoiled(np.full(6, np.nan))


def short_command(rig: Rig) -> None:
    rig.control._motion = Spoiled(np.zeros(5))


def far_command(rig: Rig) -> None:
    rig.control._motion = Spoiled(np.array([1.9, 1.5, -1.5, 1.5, 2.5, 1.5]))


class Spoiled:
    """A motion that asks for what it must not."""

    done = False

    def __init__(self, command: np.ndarray) -> None:
        self._command = command

    def command(self, now: float, previous: np.ndarray) -> np.ndarray:
        return self._command


def into_the_table(plan: Plan, rig: Rig) -> Plan:
    down = np.zeros_like(plan.actions)
    down[:, 1], down[:, 3] = 1.0, 1.0
    return replace(plan, actions=down)


def at_the_limit(plan: Plan, rig: Rig) -> Plan:
    turn = np.zeros_like(plan.actions)
    turn[:, 4] = 1.0
    return replace(plan, actions=turn)


CASES: dict[str, Case] = {
    # the line
    "cable pulled": Case(bus("cable-pulled+60"), "stops", "cable"),
    "port gone and back under another name": Case(bus("port-renamed"), "stops", "gone"),
    "one partial frame": Case(bus("partial-frame"), "rides"),
    "garbage before a reply": Case(bus("garbage"), "rides"),
    "garbage for 1 s": Case(bus("garbage+1"), "rides"),
    "one flipped bit": Case(bus("crc-flip"), "rides"),
    "flipped bits for 1 s": Case(bus("crc-flip+1"), "stops", "not answer"),
    "one lost request": Case(bus("lost-request"), "rides"),
    "requests lost for 1 s": Case(bus("lost-request+1"), "stops", "not answer"),
    "one lost reply": Case(bus("lost-reply"), "rides"),
    "replies lost for 1 s": Case(bus("lost-reply+1"), "stops", "not answer"),
    "a reply that comes in the next transaction": Case(bus("late-reply"), "rides"),
    "a reply with another identifier": Case(bus("wrong-id"), "rides"),
    "replies in the wrong order": Case(bus("reordered-replies"), "rides"),
    "echo": Case(bus("echo"), "rides"),
    "latency timer at 16 ms": Case(bus("latency-16ms"), "rides"),
    # the servos
    "overload shutdown in motion": Case(bus("overload:elbow_flex"), "stops", "elbow_flex"),
    "overheating": Case(bus("overheating:wrist_flex"), "stops", "wrist_flex"),
    "encoder error": Case(bus("encoder-error:shoulder_lift"), "stops", "shoulder_lift"),
    "encoder wraps": Case(bus("encoder-wrap:shoulder_pan"), "stops", "shoulder_pan"),
    "brown-out": Case(bus("brown-out"), "stops"),
    "supply below its limit": Case(bus("low-voltage"), "stops"),
    "a servo falls silent": Case(bus("missing-id:wrist_roll"), "stops", "wrist_roll"),
    "two servos with one identifier": Case(bus("duplicate-id:wrist_flex"), "stops"),
    "stuck joint": Case(bus("stuck-joint:shoulder_pan"), "stops", "shoulder_pan", within=3.0, patience=3.0),
    # the planner
    "planner raises once": Case(planner_raises_once, "rides"),
    "planner is killed": Case(no_plans, "stops", "no new plan", within=0.9),
    "plans take twice as long": Case(overrun(2), "rides"),
    "plans take ten times as long": Case(overrun(10), "stops", "no new plan", within=0.9),
    "a plan with NaN": Case(refused_when_made(np.full((8, 6), np.nan)), "stops", "no new plan", within=0.9),
    "a plan of the wrong shape": Case(refused_when_made(np.zeros((8, 5))), "stops", "no new plan", within=0.9),
    "a plan with huge actions": Case(changed(lambda plan, rig: replace(plan, actions=1e6 * plan.actions)), "rides"),
    "an old plan again and again": Case(
        changed(lambda plan, rig: replace(plan, start_time=plan.start_time - 10.0)),
        "stops",
        "no new plan",
        within=0.9,
    ),
    "plans of an episode that is over": Case(old_queue, "stops", "no new plan", within=0.9),
    "a plan that starts far from the pose": Case(
        changed(lambda plan, rig: PlanFrom(plan, rig.control.sent + 2.0)), "rests", within=3.5, patience=3.5
    ),
    "a plan into the table": Case(changed(into_the_table), "rests", within=3.5, patience=3.5),
    "a plan past a joint's limit": Case(changed(at_the_limit), "rests", within=3.5, patience=3.5),
    # the host
    "a command that is not a number": Case(nan_command, "stops", "not finite"),
    "a command of the wrong shape": Case(short_command, "stops", "shape"),
    "a command far from the one before": Case(far_command, "stops", "rad"),
    "starved for 100 ms": Case(starve(0.1), "rides"),
    "starved for 400 ms": Case(starve(0.4), "stops", "no new plan", within=0.9),
    "starved for 2 s": Case(starve(2.0), "stops", "", within=2.5),
    "the supervisor is killed": Case(supervisor_gone, "stops", "supervisor", within=0.9),
    "the recorder hangs": Case(recorder_hangs, "rides"),
    "the wall clock jumps by a day": Case(wall_clock_jumps, "rides"),
    "an exception while stopping": Case(stop_fails, "stops", "Stopping it failed too"),
    "an exception while reading": Case(exception_in_reading, "stops", "no sense"),
    "connected twice": Case(connected_twice, "rides"),
    "SIGTERM": Case(lambda rig: rig.order(stop("asked to stop", fault=False)), "rests"),
    "another process fails": Case(
        lambda rig: rig.order(stop("the recorder process ended", fault=True)),
        "stops",
        "recorder",
        within=3.5,
        patience=5.0,
    ),
}
