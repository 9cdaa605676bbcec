import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SPEC, draw, move, picture

from hardware.robot import Observation
from models.dynamics import Rollout
from models.image.frames import FrameSequences
from models.image.solar import SOLAR
from planners.kl_lqr import KLConstrainedLQR
from planners.plan import Plan
from planners.planner import Horizon
from robot_ctrl.tasks.solar_reacher import ReacherSolar

START, GOAL, STEPS = torch.tensor([[5.0, 5.0]]), torch.tensor([[8.0, 7.0]]), 8
MODEL = {
    "latent_size": 3, "stack": 1, "local_rollouts": 10, "learn_reward": True, "first_steps": 120, "refit_steps": 30,
    "batch_size": 16, "unroll": 4, "learning_rate": 3e-3, "mixed_precision": False,
}  # fmt: skip


def run(model: SOLAR, plan: Plan | None, number: int, generator: torch.Generator) -> tuple[FrameSequences, float]:
    """One rollout of a plan with its gains, or of random actions."""
    at, memory, action = START, None, None
    frames, actions, distances = [draw(at)], [], [float((START - GOAL).norm())]
    for step in range(STEPS):
        if plan is None:
            action = 2 * torch.rand(2, generator=generator) - 1
        else:
            state, memory = model.observe({"camera": picture(draw(at)[0])}, memory, action)
            assert plan.gains is not None
            assert plan.states is not None
            feedback = plan.gains[step] @ (state.numpy() - plan.states[step])
            action = torch.from_numpy(np.clip(plan.actions[step] + feedback, -1, 1).astype(np.float32))
        at = move(at, action.unsqueeze(0))
        frames.append(draw(at))
        actions.append(action)
        distances.append(float((at - GOAL).norm()))
    actions.append(torch.zeros(2))
    episode = FrameSequences(
        torch.cat(frames),
        torch.zeros(STEPS + 1, 0),
        torch.stack(actions),
        -torch.tensor(distances).square(),
        torch.full((STEPS + 1,), number),
    )
    return episode, distances[-1]


def test_a_dot_is_brought_most_of_the_way_to_its_goal_in_three_iterations() -> None:
    generator = torch.Generator().manual_seed(0)
    model = SOLAR(SPEC, **MODEL)  # type: ignore[arg-type]
    episodes = [run(model, None, number, generator)[0] for number in range(15)]

    def cost(rollout: Rollout, actions: torch.Tensor) -> torch.Tensor:
        return -model.reward(rollout.states[:, :, 1:]).sum(-1) + 1e-3 * actions.square().sum((1, 2))

    horizon = Horizon(STEPS, 2, 0.1, np.zeros(2, np.float32))
    for exploration in (0.3, 0.3, 0.0):
        model.fit(FrameSequences.concatenate(episodes), generator=generator)
        planner = KLConstrainedLQR(horizon, generator=generator, exploration=exploration, step=0.7)
        ends = []
        for _ in range(10):
            plan = planner.plan(model, cost, model.local.initial_mean)
            episode, end = run(model, plan, len(episodes), generator)
            episodes.append(episode)
            ends.append(end)
    assert np.median(ends) < 0.5 * float((START - GOAL).norm())


def test_the_reachers_reward_is_quadratic_in_the_distance() -> None:
    task = ReacherSolar()
    for distance in (0.0, 0.1, 0.2):
        values = {"finger": np.array([0.3, 0.0, 0.01]), "goal_tip": np.array([0.3, -distance, 0.01])}
        assert task.reward(Observation(0, values, {}, {}, {})) == pytest.approx(-((10 * distance) ** 2))
