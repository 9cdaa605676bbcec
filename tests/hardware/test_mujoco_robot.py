"""A robot from an MJCF: what is read off the model, and what is refused."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from hardware.clock import MonotonicClock
from hardware.errors import StoppedError
from hardware.mujoco_robot import MujocoRobot
from hardware.robot import CameraSpec

ARM = """
<mujoco model="two_link">
  <option timestep="0.005" integrator="implicitfast"/>
  <default><geom density="50" contype="0" conaffinity="0"/></default>
  <worldbody>
    <camera name="side" pos="0 -3 0" xyaxes="1 0 0 0 0 1"/>
    <site name="goal" pos="1 0 0"/>
    <body name="marker" mocap="true" pos="0 0 1"><geom name="marker" size="0.1"/></body>
    <body name="upper">
      <joint name="shoulder" axis="0 1 0" range="-90 90" damping="0.5"/>
      <geom name="upper" type="capsule" fromto="0 0 0 1 0 0" size="0.05"/>
      <body name="lower" pos="1 0 0">
        <joint name="elbow" axis="0 1 0" damping="0.5"/>
        <geom name="lower" type="capsule" fromto="0 0 0 0.5 0 0" size="0.05"/>
        <site name="hand" pos="0.5 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>{actuators}</actuator>
  <sensor>
    <jointpos name="elbow_encoder" joint="elbow"/>
    <framepos name="hand_position" objtype="site" objname="hand"/>
  </sensor>
  <keyframe><key name="bent" qpos="0.2 -0.4"/></keyframe>
</mujoco>
"""
POSITION = """
<position name="m1" joint="shoulder" kp="200" kv="20" ctrlrange="-1 2" forcerange="-50 40"/>
<position name="m2" joint="elbow" kp="100" kv="10" ctrlrange="-1 1"/>
"""
MOTORS = '<motor name="m1" joint="shoulder" gear="10" ctrlrange="-1 1"/><motor name="m2" joint="elbow"/>'
VELOCITY = '<velocity joint="shoulder" kv="5" ctrlrange="-2 2"/><velocity joint="elbow" kv="5"/>'


def compile_arm(actuators: str = POSITION) -> Any:
    return mujoco.MjModel.from_xml_string(ARM.format(actuators=actuators))


def make_arm(actuators: str = POSITION, **settings: Any) -> MujocoRobot:
    robot = MujocoRobot(compile_arm(actuators), **{"control_rate": 50, **settings})
    robot.connect()
    return robot


def test_limits_come_from_the_model() -> None:
    spec = make_arm(velocity_limit=[3.0, 4.0], acceleration_limit=9, park_pose=(0.1, 0.2)).spec
    shoulder, elbow = spec.joints
    assert spec.name == "two_link"
    assert spec.command_mode == "position"
    assert shoulder.name == "shoulder"
    assert shoulder.position == pytest.approx((-1.0, np.pi / 2)), "the tighter of ctrlrange and joint range"
    assert (shoulder.velocity, elbow.velocity) == (3.0, 4.0)
    assert (shoulder.acceleration, elbow.acceleration) == (9.0, 9.0)
    assert (shoulder.effort, elbow.effort) == (50.0, None)
    assert elbow.position == (-1.0, 1.0)
    assert spec.park_pose == (0.1, 0.2)


@pytest.mark.parametrize(
    ("actuators", "mode", "commands"),
    [
        (MOTORS, "effort", [(-1.0, 1.0), None]),
        (VELOCITY, "velocity", [(-2.0, 2.0), None]),
        (POSITION, "position", [None, None]),
    ],
)
def test_the_command_mode_is_read_off_the_actuators(actuators: str, mode: str, commands: list[object]) -> None:
    spec = make_arm(actuators).spec
    assert spec.command_mode == mode
    assert [joint.command for joint in spec.joints] == commands


def test_mixed_actuators_need_a_decision() -> None:
    mixed = '<position joint="shoulder" kp="5"/><motor joint="elbow"/>'
    with pytest.raises(ValueError, match=r"mixes effort and position.*command_mode"):
        make_arm(mixed)
    assert make_arm(mixed, command_mode="effort").spec.command_mode == "effort"


def test_everything_named_is_observed() -> None:
    robot = make_arm(keyframe="bent", points={"tip": "site:hand", "arm": "body:lower", "ball": "geom:marker"})
    values = robot.get_observation().values
    elbow = np.array([np.cos(0.2), 0, -np.sin(0.2)])
    hand = elbow + 0.5 * np.array([np.cos(0.2 - 0.4), 0, -np.sin(0.2 - 0.4)])
    np.testing.assert_allclose(values["joint_position"], [0.2, -0.4])
    np.testing.assert_allclose(values["arm"], elbow, atol=1e-12)
    np.testing.assert_allclose(values["tip"], hand, atol=1e-12)
    np.testing.assert_allclose(values["hand_position"], hand, atol=1e-12)
    np.testing.assert_allclose(values["ball"], [0, 0, 1])
    np.testing.assert_allclose(values["elbow_encoder"], [-0.4])
    np.testing.assert_allclose(values["command"], [0.2, -0.4], err_msg="the arm holds its start")
    assert values["terminated"] == 0


def test_derived_values_belong_to_the_same_instant_as_the_state() -> None:
    robot = make_arm(points={"tip": "site:hand"})
    robot.send_action(np.array([1.0, 0.5]))
    values = robot.get_observation().values
    q1, q2 = values["qpos"]
    assert values["elbow_encoder"][0] == q2
    expected = [np.cos(q1) + 0.5 * np.cos(q1 + q2), 0, -np.sin(q1) - 0.5 * np.sin(q1 + q2)]
    np.testing.assert_allclose(values["tip"], expected, atol=1e-12)


def test_position_targets_are_reached() -> None:
    robot = make_arm()
    for _ in range(200):
        robot.send_action(np.array([0.5, -0.5]))
    np.testing.assert_allclose(robot.get_observation().values["joint_position"], [0.5, -0.5], atol=0.05)
    assert abs(robot.get_observation().values["joint_velocity"]).max() < 1e-3


def test_gear_does_not_scale_what_is_observed() -> None:
    robot = make_arm(MOTORS, keyframe="bent")
    np.testing.assert_allclose(robot.get_observation().values["joint_position"], [0.2, -0.4])
    robot.send_action(np.array([1.0, 0.0]))
    values = robot.get_observation().values
    np.testing.assert_allclose(values["joint_velocity"], values["qvel"])


def test_a_subset_of_the_actuators_in_any_order() -> None:
    robot = MujocoRobot(compile_arm(), control_rate=50, actuators=["m2"], keyframe="bent")
    robot.connect()
    assert [joint.name for joint in robot.spec.joints] == ["elbow"]
    robot.send_action(np.array([0.7]))
    np.testing.assert_allclose(robot.data.ctrl, [0.2, 0.7], err_msg="the other holds its start")
    swapped = MujocoRobot(compile_arm(), control_rate=50, actuators=["m2", "m1"], keyframe="bent")
    swapped.connect()
    np.testing.assert_allclose(swapped.get_observation().values["joint_position"], [-0.4, 0.2])


@pytest.mark.parametrize("rate", [30.0, 400.0, 199.0])
def test_a_rate_that_does_not_fit_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"{rate} Hz does not divide the physics rate of 200 Hz.*control_rate"):
        make_arm(control_rate=rate)


def test_the_number_of_physics_steps() -> None:
    robot = make_arm(control_rate=20)
    robot.send_action(np.zeros(2))
    assert robot.data.time == pytest.approx(0.05)
    assert robot.env_steps == 1


def test_a_reset_function_draws_the_start() -> None:
    def on_reset(model: Any, data: Any, rng: np.random.Generator) -> None:
        data.qpos[:] = rng.uniform(-0.5, 0.5, model.nq)
        data.mocap_pos[0] = rng.uniform(-1, 1, 3)

    robot = make_arm(on_reset=on_reset, points={"marker": "body:marker"})
    first, second, again = (robot.reset(seed).values for seed in (1, 2, 1))
    assert not np.array_equal(first["qpos"], second["qpos"])
    assert not np.array_equal(first["marker"], second["marker"])
    np.testing.assert_array_equal(first["marker"], again["marker"])
    np.testing.assert_array_equal(first["command"], first["qpos"])


def test_targets_are_shown_where_they_are_put() -> None:
    robot = make_arm(points={"marker": "body:marker", "goal": "site:goal"})
    robot.set_target("marker", np.array([1.0, 2.0, 3.0]))
    robot.set_target("goal", np.array([3.0, 2.0, 1.0]))
    values = robot.get_observation().values
    np.testing.assert_array_equal(values["marker"], [1, 2, 3])
    np.testing.assert_array_equal(values["goal"], [3, 2, 1])
    saved = robot.get_state()
    robot.set_target("marker", np.zeros(3))
    robot.set_state(saved)
    np.testing.assert_array_equal(robot.get_observation().values["marker"], [1, 2, 3])
    with pytest.raises(ValueError, match="'mraker'; did you mean 'marker'"):
        robot.set_target("mraker", np.zeros(3))
    with pytest.raises(ValueError, match="'hand'"):
        robot.set_target("hand", np.zeros(3))


@pytest.mark.filterwarnings("ignore")
def test_a_divergence_ends_the_episode_with_the_last_good_state(caplog: pytest.LogCaptureFixture) -> None:
    robot = make_arm('<motor name="m1" joint="shoulder"/><motor name="m2" joint="elbow"/>')
    robot.send_action(np.array([0.5, 0.0]))
    good = robot.get_observation().values
    robot.send_action(np.array([1e30, -1e30]))
    values = robot.get_observation().values
    assert values["terminated"] == 1
    np.testing.assert_array_equal(values["qpos"], good["qpos"])
    assert "diverged" in caplog.text
    with pytest.raises(StoppedError, match=r"diverged.*reset\(\)"):
        robot.send_action(np.zeros(2))
    with pytest.raises(StoppedError, match=r"reset\(\)"):
        robot.clear_fault()
    assert robot.reset(0).values["terminated"] == 0
    robot.send_action(np.zeros(2))
    assert np.isfinite(robot.get_observation().values["qpos"]).all()


def test_a_file_that_does_not_compile(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text(ARM.format(actuators='<motor joint="shuolder"/>'))
    with pytest.raises(ValueError, match=r"broken\.xml is not a valid MJCF model: .*shuolder.*Correct the file"):
        MujocoRobot(broken, control_rate=50)
    with pytest.raises(ValueError, match=r"no MJCF file .*missing\.xml"):
        MujocoRobot(tmp_path / "missing.xml", control_rate=50)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": {"tip": "site:hnad"}}, "'tip'.*no site 'hnad'; did you mean 'hand'"),
        ({"points": {"tip": "hand"}}, "'tip' is 'hand'; write site:NAME"),
        ({"points": {"tip": "joint:elbow"}}, "write site:NAME, geom:NAME, body:NAME or sensor:NAME"),
        ({"actuators": ["m3"]}, "no actuator 'm3'"),
        ({"keyframe": "bend"}, "no keyframe 'bend'; did you mean 'bent'"),
        ({"points": {"elbow_encoder": "site:hand"}}, "'elbow_encoder' names more than one value.*rename"),
        ({"velocity_limit": [1.0]}, "velocity_limit has 1 numbers for 2 joints"),
    ],
)
def test_names_and_sizes_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MujocoRobot(compile_arm(), **{"control_rate": 50, **settings})


def test_a_model_without_actuators() -> None:
    with pytest.raises(ValueError, match="two_link has no actuators"):
        make_arm("")


def test_real_time_waits_for_the_period() -> None:
    clock = MonotonicClock()
    robot = make_arm(clock=clock)
    start = clock.now()
    for _ in range(3):
        robot.send_action(np.zeros(2))
    assert clock.now() - start >= 3 / 50


def test_supersampled_pictures_are_averages_of_larger_ones() -> None:
    large, small = CameraSpec("side", 120, 90), CameraSpec("side", 40, 30, supersampling=3)
    pictures = []
    for camera in (large, small):
        robot = make_arm(cameras=[camera])
        pictures.append(robot.get_observation().images["side"])
        robot.disconnect()
    whole, averaged = pictures
    assert averaged.shape == (30, 40, 3)
    expected = [[whole[3 * v : 3 * v + 3, 3 * u : 3 * u + 3].mean((0, 1)) for u in range(40)] for v in range(30)]
    assert np.abs(averaged - np.array(expected)).max() < 1.0
    assert whole.std() > 0


def test_cameras_put_pictures_into_observations() -> None:
    robot = make_arm(cameras=[CameraSpec("side", 40, 30)])
    observation = robot.get_observation()
    assert observation.images["side"].shape == (30, 40, 3)
    assert observation.images["side"].dtype == np.uint8
    assert set(observation.read_end) == {"simulation", "side"}
    robot.disconnect()
