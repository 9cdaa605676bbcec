"""Our own arm: its kinematics, its limits, and that it stays in one piece."""

from functools import partial

import mujoco
import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.arms.so101 import PARK_POSE, PUSHING_JOINTS, SERVO_IDS, so101_push
from hardware.mujoco_robot import MujocoRobot
from hardware.safety import SafetyFilter


def forward_kinematics(pan: float, lift: float, elbow: float, wrist: float) -> np.ndarray:
    """The gripper's tip, from the published link lengths: a planar chain turned about the vertical."""

    def turned(radius: float, height: float, pitch: float) -> np.ndarray:
        return np.array(
            [
                np.cos(pitch) * radius + np.sin(pitch) * height,
                -np.sin(pitch) * radius + np.cos(pitch) * height,
            ]
        )

    radius, height = (
        np.array([0.0304, 0.0624 + 0.0542])
        + turned(0.028, 0.1126, lift)
        + turned(0.1349, 0.0, lift + elbow)
        + turned(0.0611 + 0.0981, 0.0, lift + elbow + wrist)
    )
    return np.array([radius * np.cos(pan), radius * np.sin(pan), height])


@pytest.mark.parametrize("pose", [(0, 0, 0, 0), (0.7, -0.4, 0.9, 0.5), (-1.5, 1.2, -1.0, 1.4), (1.9, -1.7, 1.6, -1.6)])
def test_the_tip_is_where_the_link_lengths_say(pose: tuple[float, ...]) -> None:
    robot = reaching_arm("so101", on_reset=lambda model, data, rng: data.qpos.__setitem__(slice(0, 4), pose))
    robot.connect()
    tip = robot.get_observation().values["gripper_tip"]
    np.testing.assert_allclose(tip, forward_kinematics(*pose), atol=1e-12)


def test_the_spec_of_the_arm() -> None:
    spec = reaching_arm("so101").spec
    assert tuple(joint.name for joint in spec.joints) == tuple(SERVO_IDS)
    assert list(SERVO_IDS.values()) == [1, 2, 3, 4, 5, 6]
    limits = [(-1.92, 1.92), (-1.745, 1.745), (-1.69, 1.69), (-1.658, 1.658), (-2.74, 2.84), (-0.17, 1.745)]
    for joint, limit in zip(spec.joints, limits, strict=True):
        assert joint.position == pytest.approx(limit)
        assert joint.velocity == 3.0
        assert joint.effort == pytest.approx(2.94)
    assert spec.command_mode == "position"
    low, high = spec.command_limits
    assert ((low <= PARK_POSE) & (high >= PARK_POSE)).all()
    assert tuple(joint.name for joint in so101_push().spec.joints) == PUSHING_JOINTS


@pytest.mark.parametrize("make", [partial(reaching_arm, "so101"), so101_push])
@pytest.mark.parametrize("hold", [1, 15])
def test_the_arm_survives_random_commands_at_the_speed_limit(make, hold: int) -> None:  # type: ignore[no-untyped-def]
    robot: MujocoRobot = make()
    robot.connect()
    safety = SafetyFilter(robot.spec)
    low, high = robot.spec.command_limits
    rng = np.random.default_rng(0)
    limited = robot.model.jnt_limited.astype(bool)
    lowest, highest = robot.model.jnt_range[limited].T
    for step in range(1000):
        if step % hold == 0:
            goal = rng.uniform(low, high)
        safety.send(robot, goal)
        values = robot.get_observation().values
        assert values["terminated"] == 0
        assert np.isfinite(values["qpos"]).all()
        assert (values["qpos"][limited] >= lowest - 0.02).all()
        assert (values["qpos"][limited] <= highest + 0.02).all()
        assert np.abs(values["qvel"]).max() < 40
    assert not any(warning.number for warning in robot.data.warning)


@pytest.mark.parametrize("make", [partial(reaching_arm, "so101"), so101_push])
def test_the_arm_holds_its_pose_against_gravity(make) -> None:  # type: ignore[no-untyped-def]
    robot: MujocoRobot = make()
    robot.connect()
    command = robot.get_observation().values["command"]
    for _ in range(50):
        robot.send_action(command)
    values = robot.get_observation().values
    assert np.abs(values["joint_position"] - command).max() < 0.03
    assert np.abs(values["joint_velocity"]).max() < 1e-3


def test_the_arm_rests_in_its_park_pose() -> None:
    robot = reaching_arm("so101")
    robot.connect()
    safety = SafetyFilter(robot.spec)
    for _ in range(60):
        safety.send(robot, np.array(PARK_POSE))
    values = robot.get_observation().values
    assert np.abs(values["joint_position"] - PARK_POSE).max() < 0.05
    assert values["gripper_tip"][2] > 0.0


def test_a_puck_can_be_pushed_across_the_table() -> None:
    robot = so101_push()
    robot.connect()
    safety = SafetyFilter(robot.spec)
    start = robot.get_observation().values
    ready = start["command"]
    jacobian = np.zeros((3, robot.model.nv))
    site = robot.model.site("gripper_tip").id
    command = ready.copy()
    for _ in range(60):
        mujoco.mj_jacSite(robot.model, robot.data, jacobian, None, site)
        height = 0.02 - robot.get_observation().values["gripper_tip"][2]
        step, *_ = np.linalg.lstsq(jacobian[:, :4], np.array([0.0025, 0.0, 0.2 * height]), rcond=1e-3)
        command = command + step
        safety.send(robot, command)
    end = robot.get_observation().values
    moved = end["puck"] - start["puck"]
    assert moved[0] > 0.08
    assert abs(moved[1]) < 0.03
    assert end["puck"][2] == start["puck"][2], "it stays on the table"
    for _ in range(25):
        safety.send(robot, ready)
    left = robot.get_observation().values
    for _ in range(25):
        safety.send(robot, ready)
    np.testing.assert_allclose(robot.get_observation().values["puck"], left["puck"], atol=1e-4, err_msg="it stops")
