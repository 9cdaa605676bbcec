"""The closed loop in virtual time: observe, choose, filter, send, record."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardware.errors import RobotError
from hardware.robot import Observation
from hardware.safety import SafetyFilter
from robot_ctrl.errors import Interrupted
from robot_ctrl.interruption import shielded
from robot_ctrl.policies import Policy
from robot_ctrl.recorder import EpisodeWriter, RecordingError
from robot_ctrl.task import Task


@dataclass
class EpisodeResult:
    """What happened in an episode.

    Attributes:
        steps: control periods.
        total_reward: the return.
        success: whether the goal was reached; None where the task defines no success.
        observations: all of them, the first from the reset.
        actions: (nu,) what was sent, scaled to [-1, 1], one per control period.
        frames: pictures in video quality, where they were asked for.
    """

    steps: int = 0
    total_reward: float = 0.0
    success: bool | None = None
    observations: list[Observation] = field(default_factory=list)
    actions: list[NDArray[np.float64]] = field(default_factory=list)
    frames: list[NDArray[np.uint8]] = field(default_factory=list)


def run_episode(
    task: Task,
    policy: Policy,
    safety: SafetyFilter,
    *,
    reset_seed: int,
    policy_seed: int,
    recorder: EpisodeWriter | None = None,
    after_step: Callable[[EpisodeResult], None] | None = None,
    film: bool = False,
) -> EpisodeResult:
    """Run one episode; the simulated robot waits for every decision.

    Args:
        task: the task.
        policy: chooses the commands.
        safety: the filter that every command goes through.
        reset_seed: where the episode starts.
        policy_seed: the policy's own randomness.
        recorder: where every observation and action is written as it happens.
        after_step: called after every control period.
        film: whether to render a frame per control period.
    """
    robot = task.robot
    result = EpisodeResult()
    observation = robot.reset(reset_seed)
    safety.reset(observation)
    policy.reset(policy_seed)
    result.observations.append(observation)
    with _events_in(recorder):
        if recorder:
            with shielded():
                recorder.write_observation(observation)
        for _ in range(task.episode_steps):
            if film:
                result.frames.append(robot.render())
            command = policy.act(observation)
            previous = task.previous_command(observation)
            sent = safety.send(robot, command, observation)
            scaled = task.action_scale.to_action(sent.sent, previous)
            result.actions.append(scaled)
            observation = robot.get_observation()
            if recorder:
                with shielded():
                    recorder.write_action(sent, scaled)
                    recorder.write_observation(observation)
            result.steps += 1
            result.total_reward += task.reward(observation)
            result.observations.append(observation)
            if after_step:
                after_step(result)
            if task.terminated(observation) or observation.values.get("truncated", False):
                break
    result.success = task.success(result.observations)
    return result


@contextmanager
def _events_in(recorder: EpisodeWriter | None) -> Iterator[None]:
    """Say in the record why an episode broke off; the error goes on."""
    try:
        yield
    except RobotError as fault:
        _close_with(recorder, "fault", str(fault))
        raise
    except Interrupted as interruption:
        _close_with(recorder, "interrupted", str(interruption))
        raise


def _close_with(recorder: EpisodeWriter | None, outcome: Literal["fault", "interrupted"], text: str) -> None:
    if recorder:
        with suppress(RecordingError):
            recorder.write_event(outcome, text)
            recorder.close(outcome)
