"""Robot files: what the packaged ones say, and what a wrong one is told."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from hardware.arms.reaching import reaching_arm
from hardware.arms.so101 import PARK_POSE, SERVO_IDS, SPEED_LIMIT
from hardware.errors import RobotFileError
from hardware.mujoco_robot import MujocoRobot
from hardware.robot_file import RobotDescription, load_description, make_robot, make_twin, robots

SERVO_ROBOTS = ("so101", "koch", "viperx")


def tree_of(name: str) -> dict:  # type: ignore[type-arg]
    return load_description(name).model_dump(mode="json")


def written(tmp_path: Path, **changes: object) -> Path:
    """The SO-101's file with keys changed; a key 'joints.N.KEY' changes a joint's."""
    tree = tree_of("so101")
    for key, value in changes.items():
        place, *parts = tree, *key.split("__")
        for part in parts[:-1]:
            place = place[int(part) if part.isdigit() else part]
        place[parts[-1]] = value
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_the_so101_is_the_simulated_one() -> None:
    description, simulated = load_description("so101"), reaching_arm("so101").spec
    assert {joint.name: joint.id for joint in description.joints} == dict(SERVO_IDS)
    assert description.park_pose == PARK_POSE
    for ours, theirs in zip(description.spec.joints, simulated.joints, strict=True):
        assert (ours.name, ours.velocity) == (theirs.name, SPEED_LIMIT)
        assert ours.position == pytest.approx(theirs.position)
        assert ours.effort == pytest.approx(theirs.effort)


@pytest.mark.parametrize("name", SERVO_ROBOTS)
def test_packaged_robots_agree_with_their_twin(name: str) -> None:
    description = load_description(name)
    model = MujocoRobot(Path("hardware/arms") / f"{description.twin}.xml", control_rate=25.0).spec
    ranges = {joint.name: joint.position for joint in model.joints}
    for joint in description.joints:
        assert joint.limits.position == pytest.approx(ranges[joint.name])


@pytest.mark.parametrize("name", SERVO_ROBOTS)
def test_packaged_robots_can_be_made_and_read_while_disconnected(name: str) -> None:
    description = load_description(name)
    robot = make_robot(description)
    assert not robot.is_connected
    assert robot.spec.name == name
    assert robot.spec.park_pose is not None
    assert all(joint.jerk is not None for joint in robot.spec.joints)


def test_a_misspelt_key_is_all_that_is_complained_about(tmp_path: Path) -> None:
    limits = tree_of("so101")["joints"][0]["limits"]
    path = written(tmp_path, joints__0__limits={**limits, "velocty": limits["velocity"]})
    with pytest.raises(RobotFileError) as refusal:
        load_description(str(path))
    assert str(refusal.value) == f"{path}: joints.0.limits.velocty: there is no such key; check its spelling"


def test_a_viperx_has_shadow_servos() -> None:
    shoulder = load_description("viperx").joints[1]
    assert shoulder.servo_ids == (2, 3)
    assert load_description("viperx").servo_names[3] == "shoulder's shadow"


def test_a_name_that_does_not_exist_gets_a_suggestion() -> None:
    assert set(SERVO_ROBOTS) <= set(robots())
    with pytest.raises(RobotFileError, match="did you mean 'so101'"):
        load_description("so100")
    with pytest.raises(RobotFileError, match=r"missing.yaml cannot be read: No such file"):
        load_description("missing.yaml")


def test_files_beside_the_robots_are_found_from_anywhere(tmp_path: Path) -> None:
    description = load_description(written(tmp_path, calibration="arm.json", twin="arm.xml"))
    assert description.calibration_path == tmp_path / "arm.json"
    assert description.twin == str(tmp_path / "arm.xml")
    assert load_description(written(tmp_path, twin="so101")).twin == "so101"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrl_rate": 50}, "robot.yaml: contrl_rate: there is no such key"),
        ({"control_rate": "fast"}, "control_rate: is 'fast'; input should be a valid number"),
        ({"control_rate": "50"}, "control_rate: is '50'"),
        ({"control_rate": 0}, "control_rate: is 0; input should be greater than 0"),
        ({"driver": "servo"}, "driver: is 'servo'; input should be 'dynamixel', 'feetech' or 'franka'"),
        ({"joints__0__limits__position": [1.0, -1.0]}, r"position is \[1, -1\]; the first must be below the second"),
        ({"joints__0__limits__position": [float("nan"), 1.0]}, "joints.0.limits.position.0: is nan; .* finite"),
        ({"joints__0__limits__velocity": float("inf")}, "joints.0.limits.velocity: is inf; .* finite"),
        ({"joints__0__limits__velocity": -1.0}, "joints.0.limits.velocity: is -1.0; .* greater than 0"),
        ({"joints__0__limits__position": [-4.0, 1.0]}, "its servo reaches"),
        ({"joints__0__gear_ratio": 2.0}, "its servo reaches"),
        ({"joints__0__sign": 0}, "joints.0.sign: is 0; input should be 1 or -1"),
        ({"joints__0__id": 2}, "two servos have the id 2"),
        ({"joints__0__id": 300}, "joints.0.id: is 300; .* less than or equal to 252"),
        ({"joints__0__id": None}, "'shoulder_pan' needs the id and the model"),
        ({"joints__0__name": "elbow_flex"}, "two joints are called 'elbow_flex'"),
        ({"joints__0__model": "ax-12a"}, "joints.0.model: is 'ax-12a'"),
        ({"joints__0__model": "xl430-w250"}, "a xl430-w250 does not speak the protocol of driver feetech"),
        ({"joints__0__shadow_ids": [9]}, "shadow_ids and reverse are for Dynamixel"),
        ({"joints__0__torque_limit": 1.5}, "joints.0.torque_limit: is 1.5; .* less than or equal to 1"),
        ({"joints": []}, "joints: "),
        ({"baudrate": 4_000_000}, "baudrate is 4000000; a sts3215 takes 1000000, 500000"),
        ({"bus_watchdog": 0.2}, "only Dynamixel servos have one"),
        ({"park_pose": [0.0]}, "park_pose has 1 numbers for 6 joints"),
        ({"park_pose": [0.0, 0.0, 0.0, 0.0, 0.0, 9.0]}, r"park_pose has 9 for gripper; its limits are \[-0.17"),
        ({"park_pose": None}, "safe_policy is park; that needs a park_pose"),
        ({"command_mode": "velocity"}, "command_mode is velocity; servos take position"),
    ],
)
def test_what_cannot_be_is_refused_with_file_key_and_remedy(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RobotFileError, match=message):
        load_description(written(tmp_path, **changes))


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", ""])
def test_what_is_no_robot_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    with pytest.raises(RobotFileError, match=r"robot\.yaml"):
        load_description(path)


def test_a_franka_has_no_servos() -> None:
    tree = tree_of("so101") | {"driver": "franka"}
    with pytest.raises(ValueError, match="a Franka has no servos"):
        RobotDescription.model_validate(tree)


def test_the_twin_keeps_clear_of_what_the_file_says() -> None:
    tree = load_description("so101").model_dump()
    ball = {"name": "lamp", "centre": (0.25, 0.0, 0.2), "radius": 0.1}
    box = {"low": (-0.5, -0.5, -0.1), "high": (0.1, 0.5, 0.6), "sites": ["gripper_tip"]}
    twin = make_twin(RobotDescription.model_validate(tree | {"keep_out": [ball], "workspace": box}))
    assert twin is not None
    reaching = np.array([0.0, -0.65, 0.75, 0.50, 0.0, 0.20])
    assert {near.second for near in twin.collisions(reaching)} >= {"keep-out lamp", "workspace"}
    assert make_twin(load_description("fr3").model_copy(update={"twin": None})) is None


def test_keep_out_balls_without_a_twin_are_refused() -> None:
    tree = load_description("so101").model_dump() | {"twin": None, "points": ()}
    ball = {"name": "lamp", "centre": (0.25, 0.0, 0.2), "radius": 0.1}
    with pytest.raises(ValidationError, match="need a twin"):
        RobotDescription.model_validate(tree | {"keep_out": [ball]})
