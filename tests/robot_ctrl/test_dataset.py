import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from point_mass import PointMass

from hardware.safety import SafetyFilter
from robot_ctrl.dataset import Dataset, transitions_of
from robot_ctrl.episodes import read_episode
from robot_ctrl.errors import RunError
from robot_ctrl.loop import run_episode
from robot_ctrl.policies import BasePolicy
from robot_ctrl.recorder import EpisodeWriter

CPU = torch.device("cpu")


class PayingPointMass(PointMass):
    learns_reward = True


@pytest.fixture
def task() -> PointMass:
    task = PayingPointMass()
    task.robot.connect()
    return task


def record(task: PointMass, path: Path, *, steps: int = 12, seed: int = 0) -> Path:
    task.episode_steps = steps
    with EpisodeWriter(path, metadata={}, clock=task.robot.clock) as recorder:
        run_episode(
            task,
            BasePolicy(task, "uniform"),
            SafetyFilter(task.robot.spec),
            reset_seed=seed,
            policy_seed=seed,
            recorder=recorder,
        )
    return path


def cut(source: Path, target: Path, transitions: int, task: PointMass) -> Path:
    """The same episode, recorded up to a number of transitions."""
    episode = read_episode(source)
    with EpisodeWriter(target, metadata={}, clock=task.robot.clock) as recorder:
        recorder.write_observation(episode.observations[0])
        for step in range(transitions):
            recorder.write_action(episode.actions[step], episode.actions[step].scaled)
            recorder.write_observation(episode.observations[step + 1])
    return target


def test_rewards_and_columns_line_up(task: PointMass, tmp_path: Path) -> None:
    episode = read_episode(record(task, tmp_path / "a.mcap"))
    data = transitions_of(task, episode, 3, CPU)
    assert data.rewards is not None
    assert data.rewards.tolist() == pytest.approx([-abs(state[0]) for state in data.next_states.tolist()])
    assert len(data) == 12


def test_a_missing_last_observation_costs_one_transition(task: PointMass, tmp_path: Path) -> None:
    episode = read_episode(record(task, tmp_path / "a.mcap"))
    episode.observations.pop()
    assert len(transitions_of(task, episode, 0, CPU)) == 11
    del episode.observations[1:]
    assert len(transitions_of(task, episode, 0, CPU)) == 0
    episode.observations.clear()
    nothing = transitions_of(task, episode, 0, CPU)
    assert nothing.states.shape == nothing.next_states.shape == (0, 2)
    assert nothing.actions.shape == (0, 1)


def test_what_a_repetition_covers_counts_once(task: PointMass, tmp_path: Path) -> None:
    whole = record(task, tmp_path / "whole.mcap")
    attempt = cut(whole, tmp_path / "attempt.mcap", 5, task)
    dataset = Dataset(task, CPU)
    assert len(dataset.add(whole, [attempt])) == 12
    assert len(dataset) == 12


def test_what_only_an_attempt_saw_counts_too(task: PointMass, tmp_path: Path) -> None:
    whole = record(task, tmp_path / "whole.mcap", seed=1)
    attempt = record(task, tmp_path / "attempt.mcap", seed=2, steps=5)
    longer = record(task, tmp_path / "longer.mcap", seed=1, steps=20)
    (tmp_path / "nothing.mcap").write_bytes(b"")
    dataset = Dataset(task, CPU)
    finished = dataset.add(whole, [attempt, longer, tmp_path / "nothing.mcap"])
    data = dataset.transitions()
    assert len(finished) == 12
    assert len(data) == 12 + 5 + 20
    assert data.episodes.tolist() == [0] * 12 + [1] * 5 + [2] * 20
    dataset.add(record(task, tmp_path / "next.mcap", seed=3), [])
    assert torch.equal(dataset.transitions().states[:37], data.states)


def test_an_episode_that_is_being_written_is_read_up_to_its_last_flush(
    task: PointMass, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = Dataset(task, CPU)
    dataset.add(record(task, tmp_path / "first.mcap"), [])
    path = tmp_path / "open.mcap"
    with caplog.at_level(logging.INFO), EpisodeWriter(path, metadata={}, clock=task.robot.clock) as recorder:
        run_episode(
            task,
            BasePolicy(task, "uniform"),
            SafetyFilter(task.robot.spec),
            reset_seed=5,
            policy_seed=5,
            recorder=recorder,
        )
        recorder.flush()
        assert len(dataset.with_open_episode(path)) == 24
    assert len(dataset) == 12
    assert not caplog.records


@pytest.mark.parametrize("content", [None, b"no recording"])
def test_a_recording_that_is_none_is_named(content: bytes | None, task: PointMass, tmp_path: Path) -> None:
    path = tmp_path / "gone.mcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"gone\.mcap.*start a new run"):
        Dataset(task, CPU).add(path, [])


def test_numbers_survive_the_disk_exactly(task: PointMass, tmp_path: Path) -> None:
    task.episode_steps = 12
    path = tmp_path / "a.mcap"
    with EpisodeWriter(path, metadata={}, clock=task.robot.clock) as recorder:
        result = run_episode(
            task,
            BasePolicy(task, "uniform"),
            SafetyFilter(task.robot.spec),
            reset_seed=0,
            policy_seed=0,
            recorder=recorder,
        )
    data = transitions_of(task, read_episode(path), 0, CPU)
    states = np.array([task.state(observation) for observation in result.observations], np.float32)
    assert np.array_equal(data.states, states[:-1])
    assert np.array_equal(data.next_states, states[1:])
    assert np.array_equal(data.actions, np.array(result.actions, np.float32))


def test_a_demonstration_is_read_with_the_tasks_own_action_scale(task: PointMass, tmp_path: Path) -> None:
    path = record(task, tmp_path / "a.mcap")
    own = Dataset(task, CPU)
    own.add(path, [])
    episode = read_episode(path)
    foreign = tmp_path / "b.mcap"
    with EpisodeWriter(foreign, metadata={}, clock=task.robot.clock) as recorder:
        recorder.write_observation(episode.observations[0])
        for step, action in enumerate(episode.actions):
            recorder.write_action(action, 7.0 * action.scaled)
            recorder.write_observation(episode.observations[step + 1])
    shown = Dataset(task, CPU)
    shown.add_demonstration(foreign)
    assert torch.allclose(shown.transitions().actions, own.transitions().actions, atol=1e-6)
    assert torch.equal(shown.transitions().states, own.transitions().states)


def test_a_demonstration_at_another_rate_is_refused(task: PointMass, tmp_path: Path) -> None:
    episode = read_episode(record(task, tmp_path / "a.mcap"))
    slow = tmp_path / "b.mcap"
    with EpisodeWriter(slow, metadata={}, clock=task.robot.clock) as recorder:
        recorder.write_observation(episode.observations[0])
        for step, action in enumerate(episode.actions):
            recorder.write_action(action, action.scaled)
            seen = episode.observations[step + 1]
            recorder.write_observation(replace(seen, read_end={"simulation": 2 * max(seen.read_end.values())}))
    with pytest.raises(RunError, match="Record it at that rate"):
        Dataset(task, CPU).add_demonstration(slow)
