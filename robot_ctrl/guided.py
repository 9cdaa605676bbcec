"""A person brings an arm somewhere, by keys or by hand while it is limp, and at every Enter something is done there."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from hardware.clock import MonotonicClock
from hardware.robot import Observation
from hardware.robot_file import make_robot
from robot_ctrl.errors import UserError
from robot_ctrl.keyboard import Keys
from robot_ctrl.realtime.control_process import ControlSettings, RunEpisode, Stop
from robot_ctrl.realtime.driving import MOVE_SECONDS
from robot_ctrl.realtime.planning_messages import Seen
from robot_ctrl.realtime.sources import CameraSource, DescribedArm, RobotSource, seeing
from robot_ctrl.realtime.supervisor import STOP_SECONDS, Statuses, Supervisor
from robot_ctrl.teleop import Hands
from robot_ctrl.teleoperation import DONE, KeyboardPolicy, keys_help

STILL, SETTLED = 0.05, 0.4
"""rad/s below which joints are at rest, and s that they must have been so: a picture then shows them there."""

PATIENCE = 900.0
"""Seconds that a person may take."""

_PERIOD = 0.05

Result = TypeVar("Result")

Take = Callable[[Observation], bool]
"""Is shown what is seen where the arm was brought, with pictures; returns whether that was the last."""


def guide_by_keys(supervisor: Supervisor, settings: ControlSettings, keys: Keys, take: Take, path: Path) -> None:
    """A person drives the arm by keys through the safety filter; Enter counts once the arm stands.

    Args:
        supervisor: of a control process; no planner runs.
        settings: of control.
        keys: what was typed since the last call.
        take: what is done at Enter.
        path: of the recording of the drive.

    Raises:
        StoppedByFault: if the arm had to be stopped meanwhile.
        StoppedOnRequest: if a signal arrived.
        TimeoutError: if it takes too long.
    """
    keyboard = KeyboardPolicy(settings.source.spec, keys)
    hands = Hands(keyboard, settings, supervisor)
    resting: list[Observation] = []
    print(f"{keys_help(settings.source.spec)}\nSpace stops the arm where it is; Enter takes what is seen.", flush=True)

    def look(statuses: Statuses) -> None:
        hands.look(statuses)
        while (seen := supervisor.steps.get()) is not None:
            assert isinstance(seen, Seen)
            if np.abs(seen.observation.values["joint_velocity"]).max() > STILL:
                resting.clear()
            del resting[1:]
            resting.append(seen.observation)

    def asked(statuses: Statuses) -> bool:
        return keyboard.done and bool(resting) and _read_time(resting[-1]) - _read_time(resting[0]) >= SETTLED

    supervisor.watched = look
    metadata = {"robot": settings.source.name, "driven by": "keyboard"}
    steps = math.ceil(PATIENCE / settings.model_period)
    supervisor.give(lambda order: RunEpisode(order, 0, steps, {}, path, metadata))
    while True:
        supervisor.wait_for(asked, PATIENCE, "driving the arm")
        keyboard.done = False
        if meanwhile(supervisor, partial(take, resting[-1])):
            break
    supervisor.carry_out(lambda order: Stop(order, "all is taken", fault=False), STOP_SECONDS, "braking")
    supervisor.wait_for(lambda now: now.recorder.closed >= 0, MOVE_SECONDS, "closing the recording")
    supervisor.watched = lambda statuses: None


def guide_by_hand(source: RobotSource, cameras: Sequence[CameraSource], keys: Keys, take: Take) -> None:
    """A person moves the arm while its torque is off, from the first Enter on; then it holds itself again.

    Args:
        source: an arm of servos whose torque can be switched off.
        cameras: whose pictures are taken.
        keys: what was typed since the last call.
        take: what is done at every further Enter.

    Raises:
        UserError: if the robot cannot be made limp.
        RobotError: what the arm or a camera refuses.
    """
    if not isinstance(source, DescribedArm) or source.description.driver == "franka":
        raise UserError(f"{source.name} cannot be made limp here; drive it by keys, without --by-hand.")
    limp = {"safe_policy": "torque_off", "torque_at_disconnect": "hold", "cameras": ()}
    clock = MonotonicClock()
    arm = make_robot(source.description.model_copy(update=limp), source.port, clock)
    robot = seeing(arm, cameras, clock)
    robot.connect()
    try:
        print(
            f"At Enter {source.name} goes LIMP: the torque goes off in all of its joints, and it DROPS. Hold it.",
            flush=True,
        )
        while DONE not in keys():
            robot.get_observation()
            clock.sleep_until(clock.now() + _PERIOD)
        robot.stop("it is moved by hand")
        print("It is limp. Bring it there, hold it still, and press Enter.", flush=True)
        while not (DONE in keys() and take(robot.get_observation())):
            robot.get_observation()
            clock.sleep_until(clock.now() + _PERIOD)
        robot.clear_fault()
        print(f"{source.name} holds itself again: let go, and stand back; it may move next.", flush=True)
    finally:
        robot.disconnect()


def meanwhile(supervisor: Supervisor, work: Callable[[], Result]) -> Result:
    """Do something that takes its time, while the arm is watched; what it raises is raised.

    Raises:
        StoppedByFault: if the arm had to be stopped meanwhile.
        StoppedOnRequest: if a signal arrived.
        TimeoutError: if it takes too long.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        supervisor.wait_for(lambda statuses: future.done(), MOVE_SECONDS, "what had to be done meanwhile")
        return future.result()


def _read_time(observation: Observation) -> float:
    return max(observation.read_end.values())
