"""The training set of a run, read back from its episode files."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from models.dynamics import Rollout
from models.transitions import Transitions
from robot_ctrl.episodes import Episode, read_episode
from robot_ctrl.errors import RunError
from robot_ctrl.task import Task

logger = logging.getLogger(__name__)

RATE_TOLERANCE = 0.1
"""How far the rate of a demonstration may be from the task's, as a share of it."""


class Experience(Protocol):
    """What a model learns from: some transitions, in order, that can be joined with others of their kind."""

    def __len__(self) -> int:
        """The number of transitions."""
        ...

    def is_prefix_of(self, whole: Any, /) -> bool:
        """Whether other experience begins with the same."""
        ...

    @staticmethod
    def concatenate(parts: Any, /) -> Any:
        """Join experience, part after part."""
        ...


def transitions_of(task: Task, episode: Episode, number: int, device: torch.device) -> Transitions:
    """The transitions of one episode, with the actions that were sent; number is the episode's column."""
    observations = episode.observations
    steps = max(0, min(len(episode.actions), len(observations) - 1))
    states = np.array([task.state(observation) for observation in observations[: steps + 1]])
    states = states.reshape(-1, task.state_spec.size)
    rewards = None
    if task.learns_reward:
        rewards = torch.tensor([task.reward(o) for o in observations[1 : steps + 1]], dtype=torch.float32).to(device)
    terminated = torch.tensor([task.terminated(o) for o in observations[1 : steps + 1]], dtype=torch.bool)
    actions = np.array([action.scaled for action in episode.actions[:steps]]).reshape(-1, task.state_spec.action_size)
    state_rows = torch.as_tensor(states, dtype=torch.float32, device=device)
    return Transitions(
        states=state_rows[:-1],
        actions=torch.as_tensor(actions, dtype=torch.float32, device=device),
        next_states=state_rows[1:],
        rewards=rewards,
        terminated=terminated.to(device),
        episodes=torch.full((steps,), number, dtype=torch.int64, device=device),
    )


def step_costs(task: Task, transitions: Transitions) -> torch.Tensor:
    """What each transition cost (T,), for a task without goals."""
    cost = task.cost(transitions.states.new_zeros(0))
    rewards = None if transitions.rewards is None else transitions.rewards.view(1, -1, 1)
    rollout = Rollout(torch.stack([transitions.states, transitions.next_states], dim=1).unsqueeze(0), rewards)
    return cost(rollout, transitions.actions.unsqueeze(1))[0]


class Dataset:
    """What finished episodes taught, and of unfinished ones where nothing else covers them.

    An episode that was cut off and then repeated from the same seed is a prefix of its repetition, and is left
    out; on a physical robot the repetition differs, and both count.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        self._task = task
        self._device = device
        self._parts: list[Experience] = []

    def __len__(self) -> int:
        """The number of transitions."""
        return sum(map(len, self._parts))

    def add(self, path: Path, unfinished: list[Path]) -> Experience:
        """Read a finished episode, then what earlier attempts at it left behind; returns the finished one's.

        Raises:
            RunError: if the finished episode's file is gone, or one of the files is no recording.
        """
        finished = self._read(path, finished=True)
        self._parts.append(finished)
        for attempt in unfinished:
            part = self._read(attempt)
            if len(part) and not part.is_prefix_of(finished):
                self._parts.append(part)
        return finished

    def add_demonstration(self, path: Path) -> None:
        """Read an episode that someone else drove, for example a person, on a robot with the task's joints.

        Raises:
            RunError: if it is missing or no recording, was not recorded at the task's rate, or its actions cannot be
                the task's.
        """
        self._parts.append(self._experience(_as_demonstrated(self._task, self._episode(path))))

    def with_open_episode(self, path: Path) -> Experience:
        """All transitions, and those which the episode being written holds so far."""
        return _joined([*self._parts, self._read(path)])

    def transitions(self) -> Experience:
        """All transitions, episode after episode."""
        return _joined(self._parts)

    def _read(self, path: Path, *, finished: bool = False) -> Experience:
        episode = self._episode(path)
        part = self._experience(episode)
        if finished and episode.truncated and not episode.bytes_lost:
            logger.warning("%s was cut off after it was recorded; its first %d steps are used.", path, len(part))
        return part

    def _episode(self, path: Path) -> Episode:
        try:
            return read_episode(path)
        except FileNotFoundError:
            raise RunError(
                f"{path} is missing, and the run learned from it: put the file back, or start a new run."
            ) from None
        except ValueError as error:
            raise RunError(f"{error} Put the recording back, or start a new run.") from None

    def _experience(self, episode: Episode) -> Experience:
        return self._task.experience(episode, len(self._parts), self._device)


def _as_demonstrated(task: Task, episode: Episode) -> Episode:
    """An episode with the actions that the task's own scale explains its commands with."""
    times = np.array([max(observation.read_end.values()) for observation in episode.observations])
    period = float(np.median(np.diff(times))) if len(times) > 1 else task.period
    if abs(period - task.period) > RATE_TOLERANCE * task.period:
        raise RunError(
            f"{episode.path}: a demonstration at {1 / period:.3g} Hz; the task steps at {1 / task.period:.3g} Hz. "
            f"Record it at that rate, or set task.control_rate."
        )
    size = task.robot.spec.action_size
    actions = []
    for observation, action in zip(episode.observations, episode.actions, strict=False):
        if action.sent.shape != (size,):
            raise RunError(
                f"{episode.path}: a demonstration with {action.sent.size} joints; the task's robot has {size}."
            )
        scaled = task.action_scale.to_action(action.sent, task.previous_command(observation))
        actions.append(replace(action, scaled=scaled))
    return replace(episode, actions=actions)


def _joined(parts: list[Experience]) -> Experience:
    joined: Experience = type(parts[0]).concatenate(parts)
    return joined
