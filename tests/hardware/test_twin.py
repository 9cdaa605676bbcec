"""The twin: positions, distances and their gradients, checked against the simulation and against one another."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.arms.so101 import PARK_POSE, SERVO_IDS
from hardware.robot import Array
from hardware.robot_file import load_description
from hardware.twin import KinematicTwin, Margins, Sphere, Workspace

JOINTS = tuple(SERVO_IDS)
READY = np.array([0.0, -0.65, 0.75, 0.50, 0.0, 0.20])


def poses(count: int, seed: int = 0) -> Array:
    """Random joint positions within limits."""
    low, high = reaching_arm("so101").spec.command_limits
    return np.random.default_rng(seed).uniform(low, high, (count, 6))


def test_sites_are_where_the_simulation_has_them() -> None:
    robot = reaching_arm("so101")
    robot.connect()
    twin = KinematicTwin("so101", JOINTS)
    for pose in poses(10):
        robot.data.qpos[:6] = pose
        mujoco.mj_forward(robot.model, robot.data)
        expected = robot.get_observation().values["gripper_tip"]
        np.testing.assert_allclose(twin.site_positions(pose)["gripper_tip"], expected, atol=1e-12)


def test_joints_are_taken_in_the_order_given() -> None:
    swapped = KinematicTwin("so101", JOINTS[::-1])
    pose = poses(1)[0]
    expected = KinematicTwin("so101", JOINTS).site_positions(pose)["gripper_tip"]
    np.testing.assert_allclose(swapped.site_positions(pose[::-1])["gripper_tip"], expected)


@pytest.mark.parametrize("robot", ["so101", "koch", "viperx", "fr3"])
def test_an_arm_at_rest_touches_nothing(robot: str) -> None:
    description = load_description(robot)
    assert description.twin is not None
    assert description.park_pose is not None
    names = [joint.name for joint in description.joints]
    twin = KinematicTwin(description.twin, names, rest=[description.park_pose])
    assert twin.collisions(np.array(description.park_pose)) == []


def test_upright_and_ready_poses_are_clear() -> None:
    twin = KinematicTwin("so101", JOINTS)
    assert twin.collisions(np.zeros(6)) == []
    assert twin.collisions(READY) == []


@pytest.mark.parametrize(
    ("pose", "pair"),
    [
        ([0.0, 1.0, 0.6, 0.4, 0.0, 0.2], ("gripper", "table")),
        ([0.0, -1.3, 1.69, 1.65, 0.0, 0.2], ("base", "gripper")),
        ([0.0, -1.7, 1.69, 1.65, 0.0, 0.2], ("shoulder", "gripper")),
    ],
)
def test_a_gripper_in_the_table_or_in_its_own_arm_is_found(pose: list[float], pair: tuple[str, str]) -> None:
    found = KinematicTwin("so101", JOINTS).collisions(np.array(pose))
    assert pair in [hit.pair for hit in found]
    assert [hit.slack for hit in found] == sorted(hit.slack for hit in found)
    assert all(hit.slack < 0 for hit in found)


@pytest.mark.parametrize(
    ("pose", "pair"),
    [
        ([0.0, 0.5, 0.0, -2.7, 0.0, 3.2, 0.0], ("hand", "table")),
        ([0.0, 1.5, 0.0, -1.6, 0.0, 1.5, 0.0], ("link5", "table")),
        ([0.51, 1.02, -0.34, -2.62, 0.0, 1.05, 0.31], ("link1", "hand")),
        ([-2.12, 1.22, 0.46, -2.63, 2.02, 4.27, 0.37], ("link0", "hand")),
    ],
)
def test_an_fr3_in_the_table_or_in_itself_is_found(pose: list[float], pair: tuple[str, str]) -> None:
    description = load_description("fr3")
    assert description.park_pose is not None
    twin = KinematicTwin("fr3", [joint.name for joint in description.joints], rest=[description.park_pose])
    assert pair in [hit.pair for hit in twin.collisions(np.array(pose))]


def test_nothing_that_is_near_is_overlooked() -> None:
    twin = KinematicTwin("so101", JOINTS, margins=Margins(0.0, 0.0, 0.0))
    model, data = twin._solid.model, twin._solid.data
    within = 0.03
    allowed = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    for pose in poses(15):
        found = {near.pair: near.distance for near in twin.proximities(pose, within, gradients=False)}
        arm = [g for g in np.flatnonzero(allowed) if model.geom_bodyid[g] != 0]
        for part in arm:
            table = mujoco.mj_geomDistance(model, data, part, model.geom("table").id, 1.0, None)
            body = model.body(model.geom_bodyid[part]).name
            if body != "base" and table < within - 1e-6:
                assert found[body, "table"] <= table + 1e-9
        for first in [g for g in arm if model.body(model.geom_bodyid[g]).name in ("shoulder", "upper_arm")]:
            for second in [g for g in arm if model.body(model.geom_bodyid[g]).name in ("wrist", "gripper", "jaw")]:
                names = (model.body(model.geom_bodyid[first]).name, model.body(model.geom_bodyid[second]).name)
                distance = mujoco.mj_geomDistance(model, data, first, second, 1.0, None)
                if distance < within - 1e-6:
                    assert found[names] <= distance + 1e-9


def test_gradients_say_how_distances_change() -> None:
    twin = KinematicTwin("so101", JOINTS, keep_out=[Sphere("cup", (0.2, 0.1, 0.15), 0.05)], workspace=BOX)
    checked = 0
    for pose in poses(12, seed=4):
        for near in twin.proximities(pose, 0.05):
            if near.distance < 0.002:
                continue
            assert near.gradient is not None
            numeric = np.array([change(twin, pose, joint, near.pair) for joint in range(6)])
            checked += 1
            np.testing.assert_allclose(near.gradient, numeric, atol=2e-3)
    assert checked > 20


BOX = Workspace((-0.3, -0.3, 0.02), (0.35, 0.3, 0.4))


def change(twin: KinematicTwin, pose: Array, joint: int, pair: tuple[str, str]) -> float:
    """The numeric derivative of a pair's distance."""
    distances = []
    for step in (-1e-6, 1e-6):
        moved = pose.copy()
        moved[joint] += step
        distances.append({near.pair: near.distance for near in twin.proximities(moved, 0.06, gradients=False)}[pair])
    return (distances[1] - distances[0]) / 2e-6


def test_keep_out_spheres_are_named_and_measured() -> None:
    tip = KinematicTwin("so101", JOINTS).site_positions(READY)["gripper_tip"]
    centre = (float(tip[0]) + 0.06, float(tip[1]), float(tip[2]))
    twin = KinematicTwin("so101", JOINTS, keep_out=[Sphere("cup", centre, 0.05)])
    near = [near for near in twin.proximities(READY, 0.03) if near.second == "keep-out cup"]
    assert near
    assert 0.0 < near[0].distance < 0.02
    inside = KinematicTwin("so101", JOINTS, keep_out=[Sphere("cup", centre, 0.08)], rest=[READY])
    assert inside.collisions(READY), "a keep-out sphere keeps out whatever rests in it"


def test_the_workspace_bounds_the_sites() -> None:
    tip = KinematicTwin("so101", JOINTS).site_positions(READY)["gripper_tip"]
    low, high = tip - 0.1, tip + np.array([0.1, 0.1, -0.01])
    twin = KinematicTwin("so101", JOINTS, workspace=Workspace(tuple(low), tuple(high), ("gripper_tip",)))
    outside = twin.collisions(READY)
    assert [hit.pair for hit in outside] == [("gripper_tip", "workspace")]
    assert outside[0].distance == pytest.approx(-0.01)


def test_parts_that_rest_close_may_come_as_close_but_no_closer() -> None:
    parked = np.array(PARK_POSE)
    assert KinematicTwin("so101", JOINTS).collisions(parked), "the folded arm is closer to itself than its margin"
    twin = KinematicTwin("so101", JOINTS, rest=[PARK_POSE])
    tighter = parked + np.array([0.0, 0.0, 0.09, 0.1, 0.0, 0.0])
    assert twin.collisions(tighter)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "so1O1"}, "there is no MJCF file .*so1O1.xml.*so101"),
        ({"model": "so101", "joints": ["shoulder_pam"]}, "did you mean 'shoulder_pan'"),
        ({"keep_out": [Sphere("cup", (0, 0, np.nan), 0.1)]}, "keep-out sphere 'cup'.*must be finite"),
        ({"keep_out": [Sphere("cup", (0, 0, 0), 0.0)]}, "radius 0.0"),
        ({"workspace": Workspace((0, 0, 1), (1, 1, 0))}, "every coordinate of the first"),
        ({"workspace": Workspace((0, 0, 0), (1, 1, 1), ("tip",))}, "no site of the arm 'tip'"),
    ],
)
def test_what_does_not_exist_or_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"model": "so101", "joints": JOINTS} | arguments
    with pytest.raises(ValueError, match=message):
        KinematicTwin(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("wall", [1.0, 0.93])
def test_a_user_may_bring_a_model_and_be_before_or_in_its_wall(wall: float, tmp_path: Path) -> None:
    path = tmp_path / "two.xml"
    path.write_text(
        f"""<mujoco><worldbody><geom name="wall" type="plane" pos="{wall} 0 0" zaxis="-1 0 0" size="1 1 .1"/>
        <body><joint name="swing" axis="0 0 1"/><geom type="capsule" fromto="0 0 0 .9 0 0" size=".05"/>
        <site name="tip" pos=".9 0 0"/></body></worldbody></mujoco>"""
    )
    twin = KinematicTwin(path, ["swing"])
    near = twin.proximities(np.array([0.1]), 0.2)
    assert near[0].distance == pytest.approx(wall - 0.9 * np.cos(0.1) - 0.05, abs=1e-6)
    assert near[0].gradient == pytest.approx([0.9 * np.sin(0.1)], abs=1e-5)
    assert near[0].second == "wall"
