"""What happens when plans are late, on an injected clock."""

from collections.abc import Callable

import numpy as np
import pytest
from line_robot import MODEL_PERIOD, SCALE, SPEC, SPEED, UNHURRIED, LineRobot, plan_of

from hardware.clock import VirtualClock
from hardware.errors import RobotError
from hardware.robot import Observation, RobotSpec
from hardware.safety import SafetyFilter
from robot_ctrl.realtime.control import BLIND_TICKS, ControlTick, Tick
from robot_ctrl.realtime.rules import LatePlanRules, Standing
from robot_ctrl.realtime.schedule import PlanFrom, PlanSchedule

STOP_AFTER = 0.5
RIGHT_NOW = plan_of(0.0, *[(1.0, -0.5)] * 4)


class Loop:
    """A control tick on a virtual clock, with plans that come when they are told to."""

    def __init__(self, plans: dict[float, PlanFrom] | None = None, spec: RobotSpec = SPEC) -> None:
        self.clock = VirtualClock()
        self.robot = LineRobot(self.clock, spec)
        self.safety = SafetyFilter(spec)
        self.control = ControlTick(
            self.robot,
            self.safety,
            self.clock,
            scale=SCALE,
            rules=LatePlanRules(STOP_AFTER),
        )
        self._plans = dict(plans or {})
        self._due = 0.0

    def run(self, until: float, each: Callable[[], None] = lambda: None) -> list[Tick]:
        ticks = []
        while self._due < until - 1e-9:
            each()
            ticks.append(self.control.tick(self._exchange))
            self._due += self.control.period
            self.clock.sleep_until(self._due)
        return ticks

    def _exchange(self, observation: Observation | None) -> PlanFrom | None:
        due = [time for time in self._plans if time <= self.clock.now() + 1e-9]
        return self._plans.pop(due[0]) if due else None


def test_plans_are_followed_at_the_robots_rate_and_end_where_the_model_was_told() -> None:
    loop = Loop({0.0: RIGHT_NOW}, UNHURRIED)
    loop.control.follow()
    ticks = loop.run(4 * MODEL_PERIOD)
    assert len(ticks) == 20
    assert all(tick.standing is Standing.FOLLOW for tick in ticks)
    assert loop.robot.position == pytest.approx(np.array([1.0, -0.5]) * SPEED * 4 * MODEL_PERIOD, abs=1e-6)


def test_a_late_plan_leaves_the_one_before_in_force_and_past_its_end_the_arm_holds() -> None:
    loop = Loop({0.0: RIGHT_NOW}, UNHURRIED)
    loop.control.follow()
    ticks = loop.run(0.4)
    followed = [tick for tick in ticks if tick.standing is Standing.FOLLOW]
    held = [tick for tick in ticks if tick.standing is Standing.HOLD]
    assert len(followed) == 20
    assert held
    assert followed + held == ticks
    assert [tick.speed for tick in held] == pytest.approx([0.0] * 20, abs=1e-6)
    assert loop.robot.position == pytest.approx([0.2, -0.1])
    assert loop.control.fault is None


def test_without_a_plan_for_too_long_the_arm_stops_and_the_fault_stays() -> None:
    loop = Loop({0.0: plan_of(0.0, *[(1.0, 1.0)] * 20)})
    loop.control.follow()
    ticks = loop.run(STOP_AFTER + 0.2)
    stopped = next(tick for tick in ticks if tick.standing is Standing.STOP)
    assert stopped.time == pytest.approx(STOP_AFTER)
    speeds = np.array([tick.speed for tick in ticks if tick.time >= STOP_AFTER])
    assert speeds[0] <= SPEED
    assert (np.diff(speeds) <= 1e-9).all()
    assert speeds[-1] == 0
    assert loop.control.fault is not None
    assert "no new plan for 0.50 s" in loop.control.fault
    assert loop.robot.stops == [loop.control.fault]
    where = loop.robot.position.copy()
    loop.control.follow()
    loop.control.move_to(np.zeros(2), 1.0)
    loop.run(1.0)
    assert (loop.robot.position == where).all()


def test_braking_keeps_the_acceleration_limit() -> None:
    loop = Loop({0.0: plan_of(0.0, *[(1.0, 1.0)] * 20)})
    loop.control.follow()
    loop.run(0.2)
    loop.control.brake("enough", fault=False)
    speeds = np.array([tick.speed for tick in loop.run(0.4)])
    assert np.abs(np.diff(speeds, prepend=SPEED)).max() <= 20.0 / 100 + 1e-9
    assert np.flatnonzero(speeds == 0)[0] <= 6
    assert loop.control.fault is None
    loop.control.move_to(np.array([0.5, 0.5]), 1.0)
    loop.run(1.5)
    assert loop.robot.position == pytest.approx([0.5, 0.5])


def test_a_plan_that_never_comes_is_late_too() -> None:
    loop = Loop()
    loop.control.follow()
    ticks = loop.run(STOP_AFTER + 0.1)
    assert all(tick.speed == 0 for tick in ticks)
    assert loop.control.fault is not None


def test_plans_from_before_do_not_count_as_fresh_and_plans_that_come_again_do() -> None:
    loop = Loop({0.0: RIGHT_NOW, 0.4: plan_of(0.4, *[(0.0, 1.0)] * 4, command=(0.2, -0.1))})
    loop.control.follow()
    ticks = loop.run(0.8)
    assert loop.control.fault is None
    assert loop.robot.position == pytest.approx([0.2, 0.1], abs=1e-3)
    assert [tick.standing for tick in ticks[40:60]] == [Standing.FOLLOW] * 20
    ages = [tick.plan_age for tick in ticks]
    assert max(age for age in ages if age is not None) == pytest.approx(0.39)


def test_a_plan_waits_for_its_start_and_the_one_before_is_followed_until_then() -> None:
    schedule = PlanSchedule()
    first, second = plan_of(0.0, *[(1.0, 0.0)] * 8), plan_of(0.12, *[(0.0, 1.0)] * 8)
    schedule.add(first)
    schedule.add(second)
    assert schedule.at(0.1199) == pytest.approx([1, 0])
    assert schedule.at(0.1201) == pytest.approx([0, 1])
    assert schedule.sum(0.10, 0.15) == pytest.approx([0.4, 0.6], abs=1e-6)


def test_a_plan_that_starts_earlier_than_a_waiting_one_replaces_it() -> None:
    schedule = PlanSchedule()
    schedule.add(plan_of(0.2, (1.0, 0.0)))
    schedule.add(plan_of(0.1, (0.0, 1.0)))
    assert schedule.current(0.21).plan is schedule.newest  # type: ignore[union-attr]
    assert schedule.at(0.05) is None


@pytest.mark.parametrize("interpolation", ["hold", "linear", "cubic"])
def test_the_sum_of_actions_is_what_the_optimised_interpolation_integrates_to(interpolation: str) -> None:
    schedule = PlanSchedule()
    plan = plan_of(0.0, (0.1, 0.0), (0.8, -0.2), (-0.3, 0.4), (0.2, 0.1), interpolation=interpolation)
    schedule.add(plan)
    fine = np.linspace(0.013, 0.171, 20001)
    middle = (fine[1:] + fine[:-1]) / 2
    expected = np.mean([plan.plan.at(time) for time in middle], axis=0) * (0.171 - 0.013) / MODEL_PERIOD
    assert schedule.sum(0.013, 0.171) == pytest.approx(expected, abs=1e-3)


def test_one_bad_packet_is_no_fault_and_three_in_a_row_are() -> None:
    loop = Loop({0.0: plan_of(0.0, *[(1.0, 1.0)] * 8)})
    loop.control.follow()
    loop.run(0.1)
    loop.robot.failing_reads = BLIND_TICKS - 1
    ticks = loop.run(0.2)
    assert [tick.trouble is not None for tick in ticks[:4]] == [True, True, False, False]
    assert loop.control.fault is None
    loop.robot.failing_reads = BLIND_TICKS
    loop.run(0.3)
    assert loop.control.fault is not None
    assert "left does not answer" in loop.control.fault


def test_commands_that_do_not_get_through_stop_the_arm() -> None:
    loop = Loop({0.0: plan_of(0.0, *[(1.0, 1.0)] * 8)})
    loop.control.follow()
    loop.robot.failing_sends = BLIND_TICKS
    loop.run(0.1)
    assert loop.control.fault is not None
    assert "right does not answer" in loop.control.fault
    assert loop.robot.stops


def test_an_error_while_stopping_is_told_and_the_fault_stays() -> None:
    loop = Loop()

    def fail(reason: str) -> None:
        raise RobotError("the port is gone")

    loop.robot.stop = fail  # type: ignore[method-assign]
    loop.robot.failing_sends = 10
    loop.run(0.1)
    assert loop.control.fault is not None
    assert "Stopping it failed too: the port is gone" in loop.control.fault
    assert loop.run(0.2)[-1].sent is None


@pytest.mark.parametrize("action", [(np.nan, 0.0), (np.inf, 0.0)])
def test_no_plan_can_hold_an_action_that_is_not_finite(action: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        plan_of(0.0, action)


def test_a_stop_rule_must_be_positive() -> None:
    with pytest.raises(ValueError, match="stop_after is 0"):
        LatePlanRules(0.0)
