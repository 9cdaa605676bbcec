"""Take a goal picture where a person has brought the arm: by keys, or by hand while it is limp."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware.clock import MonotonicClock
from hardware.robot import Observation
from hardware.robot_file import make_robot
from robot_ctrl.errors import UserError
from robot_ctrl.goals.goal_image_task import Picture
from robot_ctrl.goals.goal_result import PictureGoal
from robot_ctrl.keyboard import Keys
from robot_ctrl.realtime.control_process import ControlSettings, RunEpisode, Stop
from robot_ctrl.realtime.driving import MOVE_SECONDS
from robot_ctrl.realtime.planning_messages import Seen
from robot_ctrl.realtime.sources import CameraSource, DescribedArm, RobotSource, seeing
from robot_ctrl.realtime.supervisor import STOP_SECONDS, Statuses, Supervisor
from robot_ctrl.task import Array
from robot_ctrl.teleop import Hands
from robot_ctrl.teleoperation import DONE, KeyboardPolicy, keys_help

STILL, SETTLED = 0.05, 0.4
"""rad/s below which joints are at rest, and s that they must have been so: the picture then shows them there."""

PATIENCE = 600.0
"""Seconds that a person may take."""

_PERIOD = 0.05


def capture_by_keys(supervisor: Supervisor, settings: ControlSettings, keys: Keys, path: Path) -> PictureGoal:
    """A person drives the arm to the goal; Enter takes the picture once it stands.

    Args:
        supervisor: of a control process with one camera; no planner runs yet.
        settings: of control.
        keys: what was typed since the last call.
        path: of the recording of the drive.

    Raises:
        StoppedByFault: if the arm had to be stopped meanwhile.
        StoppedOnRequest: if a signal arrived.
        TimeoutError: if it takes too long.
    """
    spec, period = settings.source.spec, settings.model_period
    keyboard = KeyboardPolicy(spec, keys)
    hands = Hands(keyboard, settings.scale, period, supervisor)
    resting: list[Observation] = []

    def look(statuses: Statuses) -> None:
        hands.look(statuses)
        while (seen := supervisor.steps.get()) is not None:
            assert isinstance(seen, Seen)
            if not _still(seen.observation):
                resting.clear()
            del resting[1:]
            resting.append(seen.observation)

    def taken(statuses: Statuses) -> bool:
        return keyboard.done and bool(resting) and _read_time(resting[-1]) - _read_time(resting[0]) >= SETTLED

    print(f"Drive {settings.source.name} to the goal.\n{keys_help(spec)}", flush=True)
    print("Space stops, Enter takes the goal picture; then the arm goes back.", flush=True)
    supervisor.watched = look
    steps = math.ceil(PATIENCE / period)
    metadata = {"robot": settings.source.name, "driven by": "keyboard"}
    supervisor.give(lambda order: RunEpisode(order, 0, steps, {}, path, metadata))
    supervisor.wait_for(taken, PATIENCE, "driving to the goal")
    goal = _goal(resting[-1], settings.cameras)
    supervisor.carry_out(lambda order: Stop(order, "the goal is taken", fault=False), STOP_SECONDS, "braking")
    supervisor.wait_for(lambda now: now.recorder.closed >= 0, MOVE_SECONDS, "closing the recording")
    supervisor.watched = lambda statuses: None
    return goal


class HandGuide:
    """An arm that is moved by hand: limp between two key presses, and holding itself after them.

    Args:
        source: the arm; servos whose torque can be switched off.
        cameras: that take the goal picture.

    Raises:
        UserError: if the robot cannot be made limp.
    """

    def __init__(self, source: RobotSource, cameras: Sequence[CameraSource]) -> None:
        if not isinstance(source, DescribedArm) or source.description.driver == "franka":
            raise UserError(f"{source.name} cannot be made limp here; drive it by keys, without --by-hand.")
        limp = {"safe_policy": "torque_off", "torque_at_disconnect": "hold", "cameras": ()}
        clock = MonotonicClock()
        arm = make_robot(source.description.model_copy(update=limp), source.port, clock)
        self._arm, self._cameras, self._clock = seeing(arm, cameras, clock), tuple(cameras), clock
        self._name = source.name

    def capture(self, keys: Keys) -> PictureGoal:
        """Let go at Enter, take the picture at the next one, and hold there.

        Raises:
            RobotError: what the arm or the camera refuses.
        """
        arm = self._arm
        arm.connect()
        try:
            print(
                f"{self._name} goes LIMP at Enter: its torque goes off in all joints and it drops. Hold it.", flush=True
            )
            self._until_enter(keys)
            arm.stop("it is moved by hand")
            print("It is limp. Bring it to the goal and hold it still; Enter takes the picture.", flush=True)
            seen = self._until_enter(keys)
            arm.clear_fault()
            print("It holds itself again: let go, step back. It goes to its start next.", flush=True)
            return _goal(seen, self._cameras)
        finally:
            arm.disconnect()

    def _until_enter(self, keys: Keys) -> Observation:
        while True:
            observation = self._arm.get_observation()
            if DONE in keys():
                return observation
            self._clock.sleep_until(self._clock.now() + _PERIOD)


def _read_time(observation: Observation) -> float:
    """When the joints were read, seconds on the clock."""
    return max(observation.read_end.values())


def _still(observation: Observation) -> bool:
    return bool(np.abs(observation.values["joint_velocity"]).max() <= STILL)


def _goal(seen: Observation, cameras: Sequence[CameraSource]) -> PictureGoal:
    picture: Picture = np.asarray(seen.images[cameras[0].spec.name])
    joints: Array = np.array(seen.values["joint_position"])
    return PictureGoal(f"Goal: captured at {', '.join(f'{joint:.2f}' for joint in joints)} rad", picture, joints)
