"""`robot-ctrl teleop`: a person drives, the safety filter watches, and every episode is recorded.

The person takes the planner's place: what the keys or the leader arm ask for goes to control as short plans, under the
rules for late plans. If this program hangs or dies, control brakes by itself.
"""

import itertools
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np

from hardware.clock import MonotonicClock
from hardware.robot import Array, Observation
from hardware.robot_file import load_description, make_robot
from planners.plan import Plan
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.keyboard import Keys, pressed_keys
from robot_ctrl.led_motion import LedMotion
from robot_ctrl.realtime.control_process import ControlSettings, GoTo, RunEpisode, Stop
from robot_ctrl.realtime.driving import MOVE_SECONDS, ending_at_rest, refuse_while_latched
from robot_ctrl.realtime.planning_messages import EpisodePlan, Seen
from robot_ctrl.realtime.schedule import PlanFrom
from robot_ctrl.realtime.sources import CameraSource, RobotSource, all_cameras, described
from robot_ctrl.realtime.supervisor import (
    READY_SECONDS,
    STOP_SECONDS,
    Statuses,
    Supervisor,
)
from robot_ctrl.teleoperation import KeyboardPolicy, LeaderPolicy, keys_help

STEPS = 4
"""Of a plan: so long the arm goes on if this program hangs."""

AHEAD = 0.25
"""rad; how far the motion may be ahead of the command in force. Further, it waits."""


class Driver(Protocol):
    """Says where a robot should be."""

    def act(self, observation: Observation) -> Array:
        """The target (nu,), in command units."""
        ...


class Hands:
    """A person's wishes as short plans, made at every look of the supervisor.

    Args:
        driver: says where the robot should be.
        settings: of control: the robot, the scale of delta actions and the period of a plan's step.
        supervisor: whose mailboxes carry what is seen and planned.
    """

    def __init__(self, driver: Driver, settings: ControlSettings, supervisor: Supervisor) -> None:
        self._driver, self._spec = driver, settings.source.spec
        self._scale, self._period = settings.scale, settings.model_period
        self._seen, self._plans = supervisor.mailbox("seen"), supervisor.mailbox("plans")
        self._clock = MonotonicClock()
        self._motion: LedMotion | None = None
        self._looked = self._clock.now()

    def look(self, statuses: Statuses) -> None:
        """Answer the newest observation, if an episode is on."""
        seen: Seen | None = self._seen.get()
        if seen is None:
            return
        if seen.episode is None:
            self._motion = None
            return
        command = np.asarray(seen.observation.values["command"], dtype=np.float64)
        target = self._driver.act(seen.observation)
        now = self._clock.now()
        if self._motion is None:
            self._motion = LedMotion(self._spec, self._scale.step / self._period, command)
        self._motion.advance(now - self._looked)
        self._motion.stay_near(command, AHEAD)
        self._looked = now
        way = self._motion.towards(target, self._period * np.arange(STEPS + 1.0))
        actions = np.clip(np.diff(way, axis=0) / self._scale.step, -1, 1).astype(np.float32)
        plan = Plan(
            start_time=now,
            dt=self._period,
            actions=actions,
            hold_action=np.zeros_like(actions[0]),
            cost=math.nan,
            iterations=0,
            evaluated=0,
            finished="iterations",
            computed_from=seen.observation.sequence,
            computed_at=now,
        )
        self._plans.put(EpisodePlan(seen.episode, PlanFrom(plan, way[0]), trust=1.0))


def teleop(
    robot: str | RobotSource,
    port: str | None = None,
    *,
    leader: str | None = None,
    leader_port: str | None = None,
    out: Path = Path("teleop"),
    seconds: float = 60.0,
    speed: float = 1.5,
    rate: float = 20.0,
    run: Path | None = None,
    camera: str | None = None,
    latch_folder: Path | None = None,
    keys: Keys | None = None,
) -> str:
    """Drive a robot by hand and record one episode; returns what there is to say.

    Args:
        robot: a packaged robot's name, its YAML file, or whatever makes the robot.
        port: where it is, instead of what its file says.
        leader: a second arm to follow, by name or file; None takes the keyboard.
        leader_port: where the leader is, instead of what its file says.
        out: the folder of episodes.
        seconds: an episode ends by itself after so long; Enter ends it earlier.
        speed: largest speed of the joints, rad/s.
        rate: steps per second of the recording, Hz: that of the task that will learn from it.
        run: a run of the task that will learn from it, instead: gives the rate, the camera and the size of pictures.
        camera: that sees what the run's simulated one saw, by its name in the robot's file; None takes the same name.
        latch_folder: where faults are latched; None takes the user's state folder.
        keys: what was typed since the last call; None reads the terminal.

    Raises:
        UserError: if standard input is no terminal, or the robot has no camera that the run's task needs.
        StoppedError: while a fault is latched, or when the arm had to be stopped.
        Interrupted: after SIGINT or SIGTERM, when the arm is at rest and the record closed.
    """
    rate, see = (rate, all_cameras) if run is None else _as_learned_from(run, camera)
    source = described(robot, port, model_rate=rate) if isinstance(robot, str) else robot
    cameras = see(source)
    refuse_while_latched(source.name, latch_folder)
    scale = ActionScale.delta(source.spec, speed, 1 / rate)
    settings = ControlSettings(source, scale, 1 / rate, latch=latch_folder, cameras=cameras)
    path = _free_path(out)
    with ExitStack() as stack:
        typed = keys or stack.enter_context(pressed_keys())
        keyboard = KeyboardPolicy(source.spec, typed)
        driver: Driver = keyboard
        if leader is not None:
            driver = _Led(_led_by(leader, leader_port, source, stack), keyboard)
        supervisor = stack.enter_context(Supervisor(settings))
        supervisor.watched = Hands(driver, settings, supervisor).look
        stack.enter_context(ending_at_rest(supervisor, source.name))
        supervisor.start_recorder()
        supervisor.start_control()
        supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")
        print(_help(source, leader), flush=True)
        metadata = {"robot": source.name, "driven by": leader or "keyboard"}
        steps = round(seconds * rate)
        number = supervisor.give(lambda order: RunEpisode(order, 0, steps, {}, path, metadata))
        supervisor.wait_for(
            lambda now: keyboard.done or (now.control.order == number and now.control.done),
            seconds + MOVE_SECONDS,
            "the episode",
        )
        supervisor.carry_out(lambda order: Stop(order, "ended by hand", fault=False), STOP_SECONDS, "braking")
        supervisor.wait_for(lambda now: now.recorder.closed >= 0, MOVE_SECONDS, "closing the recording")
        pose = source.spec.park_pose
        if source.safe_policy == "park" and pose is not None:
            supervisor.carry_out(lambda order: GoTo(order, np.array(pose), speed / 2), MOVE_SECONDS, "parking")
    return f"recorded in {path}"


def _as_learned_from(run: Path, camera: str | None) -> tuple[float, Callable[[RobotSource], tuple[CameraSource, ...]]]:
    """The rate, Hz, and the cameras that a run's task needs; imports torch, which driving does without otherwise."""
    from robot_ctrl.build import open_run
    from robot_ctrl.goals.robot_camera import cameras_for
    from robot_ctrl.tasks import make_task

    task = make_task(open_run(run)[1].task)
    return 1 / task.period, lambda source: cameras_for(task, source, camera)


class _Led:
    """Follows a leader arm; the keyboard only ends the episode."""

    def __init__(self, leader: LeaderPolicy, keyboard: KeyboardPolicy) -> None:
        self._leader, self._keyboard = leader, keyboard

    def act(self, observation: Observation) -> Array:
        self._keyboard.act(observation)
        return self._leader.act(observation)


def _led_by(leader: str, port: str | None, source: RobotSource, stack: ExitStack) -> LeaderPolicy:
    """A leader arm, limp: connecting makes it hold where it is, and stopping it lets go."""
    limp = {"safe_policy": "torque_off", "torque_at_disconnect": "release"}
    description = load_description(leader).model_copy(update=limp)
    arm = make_robot(description, port)
    policy = LeaderPolicy(source.spec, arm)
    stack.callback(arm.disconnect)
    arm.connect()
    arm.stop("it leads, moved by hand")
    return policy


def _help(source: RobotSource, leader: str | None) -> str:
    if leader is not None:
        return f"Move {leader}; {source.name} follows. Enter ends the episode."
    return f"{keys_help(source.spec)}  space stops, Enter ends the episode."


def _free_path(folder: Path) -> Path:
    paths = (folder / f"episode_{number:05d}.mcap" for number in itertools.count())
    return next(path for path in paths if not path.exists()).absolute()
