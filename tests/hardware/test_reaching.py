"""The packaged arms in simulation: their links, and that they agree with their robot files."""

import mujoco
import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.errors import RobotFileError
from hardware.robot_file import load_description
from hardware.safety import SafetyFilter

PLANAR = ("so101", "koch", "viperx")
ARMS = (*PLANAR, "fr3")
# Where the next joint that bends is, from the one before, (forwards, up), m; the first from the first joint's axis on
# the ground, which stands at x = AXIS.
LINKS = {
    "so101": [(0.0304, 0.1166), (0.028, 0.1126), (0.1349, 0.0), (0.1592, 0.0)],
    "koch": [(0.0, 0.0563), (0.0148, 0.1083), (0.1005, 0.0), (0.125, 0.0)],
    "viperx": [(0.0, 0.12705), (0.05955, 0.3), (0.3, 0.0), (0.204744, 0.0)],
}
AXIS = {"so101": 0.0, "koch": 0.012, "viperx": 0.0}
BENDING = {"so101": (1, 2, 3), "koch": (1, 2, 3), "viperx": (1, 2, 4)}


@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize("pose", [(0.0, 0.0, 0.0, 0.0), (0.7, -0.4, 0.9, 0.5), (-1.5, 0.5, -1.0, 1.4)])
def test_the_tip_is_where_the_links_say(name: str, pose: tuple[float, ...]) -> None:
    def start(model: object, data: mujoco.MjData, rng: np.random.Generator) -> None:
        data.qpos[:] = 0
        data.qpos[0] = pose[0]
        data.qpos[list(BENDING[name])] = pose[1:]

    robot = reaching_arm(name, on_reset=start)
    robot.connect()
    pitch, place = 0.0, np.array(LINKS[name][0])
    for angle, (forwards, up) in zip(pose[1:], LINKS[name][1:], strict=True):
        pitch += angle
        turn = np.array([[np.cos(pitch), np.sin(pitch)], [-np.sin(pitch), np.cos(pitch)]])
        place = place + turn @ (forwards, up)
    expected = [AXIS[name] + place[0] * np.cos(pose[0]), place[0] * np.sin(pose[0]), place[1]]
    np.testing.assert_allclose(robot.get_observation().values["gripper_tip"], expected, atol=1e-9)


FR3_LINKS = [
    # a and alpha of the joint before, d: Craig's convention, as Franka publishes it
    (0.0, 0.0, 0.333),
    (0.0, -np.pi / 2, 0.0),
    (0.0, np.pi / 2, 0.316),
    (0.0825, np.pi / 2, 0.0),
    (-0.0825, -np.pi / 2, 0.384),
    (0.0, np.pi / 2, 0.0),
    (0.088, np.pi / 2, 0.0),
]
FLANGE_TO_TIP = 0.107 + 0.1034


def test_the_tip_of_an_fr3_is_where_its_published_parameters_say() -> None:
    low, high = load_description("fr3").spec.command_limits
    robot = reaching_arm("fr3", on_reset=lambda model, data, rng: np.copyto(data.qpos, rng.uniform(low, high)))
    robot.connect()
    for seed in range(5):
        values = robot.reset(seed).values
        frame = np.eye(4)
        for (a, alpha, d), angle in zip(FR3_LINKS, values["qpos"], strict=True):
            turn, tilt = (np.cos(angle), np.sin(angle)), (np.cos(alpha), np.sin(alpha))
            frame = frame @ [
                [turn[0], -turn[1], 0.0, a],
                [turn[1] * tilt[0], turn[0] * tilt[0], -tilt[1], -tilt[1] * d],
                [turn[1] * tilt[1], turn[0] * tilt[1], tilt[0], tilt[0] * d],
                [0.0, 0.0, 0.0, 1.0],
            ]
        np.testing.assert_allclose(values["gripper_tip"], (frame @ [0.0, 0.0, FLANGE_TO_TIP, 1.0])[:3], atol=1e-9)


@pytest.mark.parametrize("name", ARMS)
def test_model_and_robot_file_agree(name: str) -> None:
    described, simulated = load_description(name).spec, reaching_arm(name).spec
    for joint, other in zip(described.joints, simulated.joints, strict=True):
        assert joint.name == other.name
        assert other.position == pytest.approx(joint.position)
        assert (other.velocity, other.effort) == (joint.velocity, joint.effort)
    assert simulated.park_pose == described.park_pose


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("pose", ["ready", "park"])
def test_the_arm_holds_its_poses_against_gravity_and_touches_nothing(name: str, pose: str) -> None:
    robot = reaching_arm(name)
    if pose == "park":
        robot = reaching_arm(name, on_reset=lambda model, data, rng: np.copyto(data.qpos, robot.spec.park_pose))
    robot.connect()
    command = robot.get_observation().values["joint_position"]
    for _ in range(50):
        robot.send_action(command)
    values = robot.get_observation().values
    assert np.abs(values["joint_position"] - command).max() < 0.03
    assert np.abs(values["joint_velocity"]).max() < 2e-3
    assert robot.data.ncon == 0


@pytest.mark.parametrize("name", ARMS)
def test_the_arm_survives_random_commands(name: str) -> None:
    robot = reaching_arm(name)
    robot.connect()
    safety, rng = SafetyFilter(robot.spec), np.random.default_rng(0)
    low, high = robot.spec.command_limits
    for step in range(400):
        if step % 10 == 0:
            goal = rng.uniform(low, high)
        safety.send(robot, goal)
        values = robot.get_observation().values
        assert values["terminated"] == 0
        assert (values["qpos"] >= low - 0.05).all()
        assert (values["qpos"] <= high + 0.05).all()


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(RobotFileError, match="sawyer"):
        reaching_arm("sawyer")
