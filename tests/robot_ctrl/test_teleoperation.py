import os
import pty
import sys

import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.errors import CommandRefusedError
from hardware.robot import JointSpec, Observation, RobotSpec
from hardware.safety import SafetyFilter
from robot_ctrl.errors import UserError
from robot_ctrl.keyboard import pressed_keys
from robot_ctrl.teleoperation import KEYS, KeyboardPolicy, LeaderPolicy


class Typist:
    def __init__(self) -> None:
        self.typed = ""

    def __call__(self) -> str:
        text, self.typed = self.typed, ""
        return text


def observation(*command: float) -> Observation:
    return Observation(0, {"command": np.array(command)})


def two_joints() -> RobotSpec:
    joints = (JointSpec("a", position=(-1.0, 1.0)), JointSpec("b", position=(-1.0, 1.0)))
    return RobotSpec("pair", joints, "position", 20.0)


def test_each_joint_has_a_key_down_and_a_key_up() -> None:
    typist = Typist()
    policy = KeyboardPolicy(two_joints(), typist, step=0.1)
    typist.typed = KEYS[0][1] + KEYS[1][0]
    assert policy.act(observation(0.0, 0.5)) == pytest.approx([0.1, 0.4])
    assert policy.act(observation(0.1, 0.4)) == pytest.approx([0.1, 0.4])


def test_targets_stay_near_the_command_and_within_the_limits() -> None:
    typist = Typist()
    policy = KeyboardPolicy(two_joints(), typist, step=0.1, lead=0.2)
    typist.typed = KEYS[0][1] * 9
    assert policy.act(observation(0.0, 0.0)) == pytest.approx([0.2, 0.0])
    typist.typed = KEYS[0][1] * 9
    assert policy.act(observation(0.95, 0.0)) == pytest.approx([1.0, 0.0])


def test_space_stops_and_enter_ends() -> None:
    typist = Typist()
    policy = KeyboardPolicy(two_joints(), typist, step=0.1)
    typist.typed = KEYS[0][1]
    policy.act(observation(0.0, 0.0))
    typist.typed = " "
    assert policy.act(observation(0.03, 0.0)) == pytest.approx([0.03, 0.0])
    assert not policy.done
    typist.typed = "\n"
    policy.act(observation(0.03, 0.0))
    assert policy.done
    policy.reset(0)
    assert not policy.done


def test_a_joint_found_outside_its_limits_is_not_made_to_jump() -> None:
    policy = KeyboardPolicy(two_joints(), Typist())
    assert policy.act(observation(1.3, 0.0)) == pytest.approx([1.3, 0.0])


def test_the_keyboard_drives_the_simulated_arm_through_the_filter() -> None:
    robot = reaching_arm("so101")
    robot.connect()
    safety, typist = SafetyFilter(robot.spec), Typist()
    policy = KeyboardPolicy(robot.spec, typist)
    start = robot.reset(0).values["joint_position"][0]
    for _ in range(40):
        typist.typed = KEYS[0][1]
        safety.send(robot, policy.act(robot.get_observation()))
    assert robot.get_observation().values["joint_position"][0] > start + 0.5


def test_too_many_joints_or_torques_need_a_leader_arm() -> None:
    with pytest.raises(ValueError, match="Use a leader arm"):
        KeyboardPolicy(RobotSpec("torque", (JointSpec("a", effort=1.0),), "effort", 20.0), Typist())


def test_the_follower_goes_where_the_leader_is_within_its_limits() -> None:
    leader, follower = reaching_arm("so101"), reaching_arm("so101")
    leader.connect()
    policy = LeaderPolicy(follower.spec, leader)
    pose = leader.get_observation().values["joint_position"]
    assert policy.act(observation(*np.zeros(6))) == pytest.approx(pose)


def test_a_leader_with_other_joints_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the follower's joints"):
        LeaderPolicy(two_joints(), reaching_arm("so101"))


def test_a_leader_that_reports_nan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leader = reaching_arm("so101")
    leader.connect()
    broken = Observation(0, {"joint_position": np.full(6, np.nan)})
    monkeypatch.setattr(leader, "get_observation", lambda: broken)
    with pytest.raises(CommandRefusedError, match="check its cable"):
        LeaderPolicy(leader.spec, leader).act(observation(*np.zeros(6)))


def test_keys_are_read_from_a_terminal_without_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pressed_keys() as typed:
            assert typed() == ""
            os.write(ours, b"aq")
            assert "".join(typed() for _ in range(3)) == "aq"
    os.close(ours)


def test_a_pipe_is_no_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(UserError, match="not a terminal"), pressed_keys():
            pass
