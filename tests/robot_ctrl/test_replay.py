"""A replay meets a simulation's recording exactly, and shows what differs in another robot."""

import numpy as np
import pytest
from point_mass import Rail
from two_links import STEPS, record, two_links

from hardware.errors import RenderingUnavailableError
from hardware.mujoco_robot import MujocoRobot
from hardware.safety import SafetyFilter
from robot_ctrl.errors import RunError
from robot_ctrl.recorder import EpisodeWriter
from robot_ctrl.replay import place, replay
from robot_ctrl.seeds import derive_seed
from robot_ctrl.steps import read_steps


@pytest.fixture
def episode(tmp_path):
    return record(tmp_path / "episode_00000.mcap", two_links(tmp_path))


def test_a_recording_of_the_same_robot_is_met_exactly(episode, tmp_path):
    done = replay(episode, two_links(tmp_path))
    assert done.difference.shape == (STEPS + 1, 2)
    assert np.abs(done.difference).max() < 1e-12
    assert (done.joints, done.changed, done.ended, done.video) == (("shoulder", "elbow"), 0, None, None)
    assert (done.period, done.recorded_period) == pytest.approx((0.05, 0.05))


def test_another_robot_comes_apart_at_the_joint_that_differs(episode, tmp_path):
    done = replay(episode, two_links(tmp_path, elbow_damping=4.0))
    shoulder, elbow = np.abs(done.difference).max(axis=0)
    assert elbow > 0.05
    assert elbow > 3 * shoulder
    np.testing.assert_allclose(done.difference[0], 0, atol=1e-12)
    table = str(done)
    worst = int(np.argmax(np.abs(done.difference[:, 1])))
    line = next(line for line in table.splitlines() if line.startswith("elbow"))
    assert f"{done.difference[worst, 1]:+.5f}" in line
    assert f"{worst:7d}" in line
    assert f"{np.sqrt(np.mean(done.difference[:, 1] ** 2)):.5f}" in line


def test_a_recording_without_the_simulators_state_starts_at_its_joint_positions(episode, tmp_path):
    steps = read_steps(episode)
    values = dict(steps.observations[0].values)
    values = {name: values[name] for name in ("joint_position", "joint_velocity", "command")}
    values["joint_position"] = np.array([0.3, -0.4])
    values["target"] = np.array([0.1, 0.2, 0.3])
    object.__setattr__(steps.observations[0], "values", values)
    robot = two_links(tmp_path)
    robot.connect()
    np.testing.assert_allclose(place(robot, steps).values["joint_position"], [0.3, -0.4])
    np.testing.assert_allclose(robot.data.mocap_pos[0], [0.1, 0.2, 0.3])


def test_the_filter_guards_the_replay(episode, tmp_path):
    slow = MujocoRobot(tmp_path / "two_links_0.3.xml", control_rate=20, velocity_limit=0.2)
    done = replay(episode, slow)
    assert done.changed > STEPS / 2
    assert f"changed {done.changed} of {STEPS} commands" in str(done)


def test_a_robot_that_gives_up_ends_the_replay(episode, tmp_path):
    robot = two_links(tmp_path)
    advance = robot._advance

    def broken(command):
        advance(command)
        if robot.env_steps == 7:
            robot.stop("the simulation broke")

    robot._advance = broken
    done = replay(episode, robot)
    assert done.difference.shape == (8, 2)
    assert "ended early: command 7" in str(done)
    assert "the simulation broke" in str(done)


def test_the_replay_is_filmed(episode, tmp_path, monkeypatch):
    monkeypatch.setattr(MujocoRobot, "render", lambda self: np.full((48, 64, 3), 90, np.uint8))
    done = replay(episode, two_links(tmp_path), video=tmp_path / "films" / "replay.mp4")
    assert done.video == tmp_path / "films" / "replay.mp4"
    assert done.video.read_bytes()[4:8] == b"ftyp"
    assert str(done.video) in str(done)


def test_without_opengl_the_replay_goes_on_unfilmed(episode, tmp_path, monkeypatch, caplog):
    def render(self):
        raise RenderingUnavailableError("there is no OpenGL")

    monkeypatch.setattr(MujocoRobot, "render", render)
    done = replay(episode, two_links(tmp_path), video=tmp_path / "replay.mp4")
    assert (done.video, len(done.difference)) == (None, STEPS + 1)
    assert "no OpenGL" in caplog.text


def rail_episode(path, seed):
    robot = Rail("position")
    robot.connect()
    observation = robot.reset(derive_seed(seed, "reset", 4))
    safety = SafetyFilter(robot.spec)
    safety.reset(observation)
    with EpisodeWriter(path, metadata={"seed": "3", "episode": "4"}, clock=robot.clock) as writer:
        writer.write_observation(observation)
        for step in range(6):
            writer.write_action(safety.send(robot, np.array([0.1 * step])), np.zeros(1))
            writer.write_observation(robot.get_observation())
    return path


def test_a_simulation_without_mujoco_starts_from_the_episodes_seed(tmp_path):
    done = replay(rail_episode(tmp_path / "e.mcap", seed=3), Rail("position"))
    assert np.abs(done.difference).max() == 0
    assert len(done.difference) == 7


def test_a_simulation_that_starts_elsewhere_is_refused(tmp_path):
    with pytest.raises(RunError, match="does not start where the recording does"):
        replay(rail_episode(tmp_path / "e.mcap", seed=5), Rail("position"))


def test_a_robot_with_other_joints_is_refused(episode):
    with pytest.raises(RunError, match=r"commands of 2 joints were recorded, and rail has 1.*--task NAME"):
        replay(episode, Rail("position"))


def test_the_robot_comes_from_the_recordings_task(tmp_path):
    path = record(tmp_path / "e.mcap", two_links(tmp_path), metadata={"task": "arm-reach"})
    with pytest.raises(RunError, match=r"commands of 2 joints were recorded, and .* has 6"):
        replay(path)
    nameless = record(tmp_path / "n.mcap", two_links(tmp_path), metadata={})
    with pytest.raises(RunError, match="--task arm-reach"):
        replay(nameless)


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(RunError, match="there are no episodes in"):
        replay(tmp_path)
