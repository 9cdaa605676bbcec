import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from point_mass import PERIOD, PointMass, connected, drive

from hardware.errors import CommandRefusedError
from hardware.gymnasium_robot import GymnasiumRobot
from hardware.robot import JointSpec, Observation, RobotSpec
from hardware.safety import SafetyFilter
from models.state import StateSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.dataset import transitions_of
from robot_ctrl.episodes import read_episode
from robot_ctrl.errors import Interrupted
from robot_ctrl.loop import run_episode
from robot_ctrl.policies import BasePolicy
from robot_ctrl.recorder import EpisodeWriter
from robot_ctrl.task import Array

CPU = torch.device("cpu")


@pytest.fixture
def task() -> PointMass:
    return connected()


def test_an_episode_holds_one_action_per_period_and_the_observations_around_them(task: PointMass) -> None:
    told: list[int] = []
    result = drive(task, BasePolicy(task, "uniform"), after_step=lambda so_far: told.append(so_far.steps))
    assert (result.steps, len(result.actions), len(result.observations)) == (12, 12, 13)
    assert told == list(range(1, 13))
    assert result.total_reward == pytest.approx(sum(map(task.reward, result.observations[1:])))
    assert task.robot.clock.now() == pytest.approx(12 * PERIOD)


def test_the_same_seeds_make_the_same_episode(task: PointMass) -> None:
    first, second = (drive(task, BasePolicy(task, "uniform")) for _ in range(2))
    assert np.array_equal(first.actions, second.actions)
    assert first.total_reward == second.total_reward
    other = run_episode(task, BasePolicy(task, "uniform"), SafetyFilter(task.robot.spec), reset_seed=1, policy_seed=3)
    assert not np.array_equal(first.actions, other.actions)


class Restless:
    """Commands that break every limit."""

    def reset(self, seed: int) -> None:
        self.sign = 1.0

    def act(self, observation: Observation) -> Array:
        self.sign = -self.sign
        return np.array([100.0 * self.sign])


@pytest.mark.parametrize("driven_by", ["force", "position"])
def test_models_learn_from_what_was_sent_not_from_what_was_asked_for(driven_by: str, tmp_path: Path) -> None:
    task = connected(driven_by=driven_by)
    path = tmp_path / "episode.mcap"
    with EpisodeWriter(path, metadata={}, clock=task.robot.clock) as recorder:
        result = drive(task, Restless(), recorder=recorder)
    episode = read_episode(path)
    sent = np.array([action.sent for action in episode.actions])
    assert all(abs(action.requested) == 100 for action in episode.actions)
    assert all(action.reasons for action in episode.actions)
    assert np.abs(sent).max() <= 2
    data = transitions_of(task, episode, 7, CPU)
    previous = np.array([observation.values["command"] for observation in result.observations[:-1]])
    expected = [task.action_scale.to_action(*pair) for pair in zip(sent, previous, strict=True)]
    assert data.actions.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert data.actions.abs().max() <= 1
    assert data.states.numpy() == pytest.approx(np.array([task.state(o) for o in result.observations[:-1]]), rel=1e-6)
    assert torch.equal(data.next_states[:-1], data.states[1:])
    assert data.episodes.tolist() == [7] * 12
    if driven_by == "force":
        speed_gained = (data.next_states - data.states)[:, 1]
        assert speed_gained.numpy() == pytest.approx(2 * PERIOD * data.actions[:, 0].numpy(), abs=1e-6)


class Pendulum(PointMass):
    """Gymnasium ends its episodes after 200 steps, by no fault of the state."""

    def __init__(self) -> None:
        self.robot = GymnasiumRobot("Pendulum-v1")
        self.episode_steps = 500
        self.state_spec = StateSpec(("x", "y", "speed"), action_size=1)
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        return observation.values["observation"]

    def reward(self, observation: Observation) -> float:
        return float(observation.values["reward"])

    def success(self, observations: object) -> None:
        return None


def test_an_environment_may_cut_an_episode_short_without_its_state_being_an_end(tmp_path: Path) -> None:
    task = Pendulum()
    task.robot.connect()
    path = tmp_path / "episode.mcap"
    with EpisodeWriter(path, metadata={}, clock=task.robot.clock) as recorder:
        result = drive(task, BasePolicy(task, "hold"), recorder=recorder)
    assert result.steps == 200
    assert result.success is None
    data = transitions_of(task, read_episode(path), 0, CPU)
    assert data.terminated is not None
    assert not data.terminated.any()


def test_an_episode_ends_where_the_task_says_so(task: PointMass, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PointMass, "terminated", lambda self, observation: observation.sequence % 100 >= 4)
    assert drive(task, BasePolicy(task, "hold")).steps < 12


def test_a_robot_that_reports_no_command_is_held_at_zero() -> None:
    task = PointMass()
    observation = Observation(0, {"joint_position": np.zeros(1), "joint_velocity": np.zeros(1)})
    assert task.previous_command(observation).tolist() == [0.0]


def test_specs_of_robots_without_limits_are_refused() -> None:
    spec = RobotSpec("rail", (JointSpec("slide"),), "effort", 10.0)
    with pytest.raises(ValueError, match="'slide' has command limits"):
        ActionScale.absolute(spec)


class Breaking:
    """Commands that hold, until an error or a signal comes."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def reset(self, seed: int) -> None:
        self._acted = 0

    def act(self, observation: Observation) -> Array:
        self._acted += 1
        if self._acted > 3:
            raise self._error
        return np.zeros(1)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(CommandRefusedError("a model diverged"), "fault"), (Interrupted(signal.SIGTERM), "interrupted")],
)
def test_the_record_says_why_an_episode_broke_off(
    task: PointMass, tmp_path: Path, error: BaseException, outcome: str
) -> None:
    path = tmp_path / "episode.mcap"
    with (
        pytest.raises(type(error)),
        EpisodeWriter(path, metadata={}, clock=task.robot.clock) as recorder,
    ):
        drive(task, Breaking(error), recorder=recorder)
    episode = read_episode(path)
    assert episode.outcome == outcome
    assert [(event.kind, event.text) for event in episode.events] == [(outcome, str(error))]
    assert len(episode.actions) == 3
    assert not episode.truncated
