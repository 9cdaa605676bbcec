"""Episodes of image tasks without recordings, for benchmarks that would write more than they learn."""

from types import SimpleNamespace
from typing import Any, cast

import torch

from hardware.safety import SafetyFilter
from models.image.frames import FrameSequences
from robot_ctrl.goals.image_task import ImageTask
from robot_ctrl.loop import EpisodeResult, run_episode
from robot_ctrl.policies import Policy
from robot_ctrl.seeds import derive_seed


def roll(task: ImageTask, policy: Policy, seed: int, number: int) -> tuple[EpisodeResult, FrameSequences]:
    """Run episode ``number`` of a seed; what happened, and what an image model learns from it."""
    result = run_episode(
        task,
        policy,
        SafetyFilter(task.robot.spec),
        reset_seed=derive_seed(seed, "reset", number),
        policy_seed=derive_seed(seed, "policy", number),
    )
    actions = [SimpleNamespace(scaled=action) for action in result.actions]
    episode = cast("Any", SimpleNamespace(observations=result.observations, actions=actions))
    return result, task.experience(episode, number, torch.device("cpu"))
