"""After learning: filmed episodes, what the model predicted and the planner did in the last of them, and the report."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardware.errors import RenderingUnavailableError
from hardware.safety import SafetyFilter
from models.calibration import predicted_trajectories
from models.dynamics import Rollout
from models.learned import LearnedModel
from robot_ctrl.config import RunConfig
from robot_ctrl.controller import Controller
from robot_ctrl.diagnostics import Diagnostics
from robot_ctrl.loop import EpisodeResult, run_episode
from robot_ctrl.report import write_report
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Task
from robot_ctrl.video import VideoWriter, with_caption

logger = logging.getLogger(__name__)


def show(
    config: RunConfig,
    folder: RunFolder,
    task: Task,
    model: LearnedModel[Any],
    controller: Controller,
    safety: SafetyFilter,
) -> Path:
    """Run ``learning.show_episodes`` more episodes, film them, and write the report; returns its path.

    These episodes start where evaluation's do, are not learned from, and are not in metrics.csv.
    """
    last: EpisodeResult | None = None
    captioned = []
    film = True
    for number in range(config.learning.show_episodes):
        try:
            last = _episode(config, task, controller, safety, number, film=film)
        except RenderingUnavailableError as error:
            logger.warning("no video: %s", error)
            film = False
            last = _episode(config, task, controller, safety, number, film=film)
        captioned += [with_caption(frame, f"{config.task['name']}  episode {number + 1}") for frame in last.frames]
    if captioned:
        height, width, _ = captioned[0].shape
        with VideoWriter(folder.video, 1.0 / task.period, (width, height)) as video:
            for frame in captioned:
                video.write(frame)
    if last is not None:
        _diagnose(task, model, controller, last, number).save(folder.diagnostics)
    return write_report(folder.path)


def _episode(
    config: RunConfig, task: Task, controller: Controller, safety: SafetyFilter, number: int, *, film: bool
) -> EpisodeResult:
    return run_episode(
        task,
        controller,
        safety,
        reset_seed=derive_seed(config.seed, "evaluation 0", number),
        policy_seed=derive_seed(config.seed, "evaluation policy 0", number),
        film=film,
    )


def _diagnose(
    task: Task, model: LearnedModel[Any], controller: Controller, result: EpisodeResult, number: int
) -> Diagnostics:
    states = torch.as_tensor(
        np.stack([task.state(observation) for observation in result.observations]), dtype=torch.float32
    )
    actions = torch.as_tensor(np.stack(result.actions), dtype=torch.float32)
    there, sent = states.to(model.device), actions.to(model.device)
    length = min(controller.horizon, result.steps)
    starts = np.arange(0, result.steps - length + 1, length)
    predicted = [predicted_trajectories(model, there[at], sent[at : at + length]).cpu().numpy() for at in starts]
    elite_costs = [plan.elite_costs for plan in controller.plans]
    widest = max(map(len, elite_costs))
    return Diagnostics(
        episode=number,
        state_names=task.state_spec.names,
        times=np.arange(len(states), dtype=np.float64) * task.period,
        observed=states.numpy().astype(np.float64),
        window_starts=starts,
        predicted=np.stack(predicted),
        elite_costs=np.array([[*costs, *[np.nan] * (widest - len(costs))] for costs in elite_costs]),
        plan_ms=np.array(controller.plan_seconds) * 1e3,
        cost_terms=_terms(task, states, actions, result),
    )


@torch.no_grad()
def _terms(task: Task, states: torch.Tensor, actions: torch.Tensor, result: EpisodeResult) -> dict[str, np.ndarray]:
    """What each term of the cost charged for every step that was executed; nothing for a cost without terms."""
    cost = task.cost(torch.as_tensor(task.goal(result.observations[0]), dtype=torch.float32))
    if task.learns_reward or not hasattr(cost, "terms"):
        return {}
    steps = torch.stack([states[:-1], states[1:]], dim=1)
    charged = cost.terms(Rollout(steps.unsqueeze(0)), actions.unsqueeze(1))
    return {name: values[0].numpy().astype(np.float64) for name, values in charged.items()}
