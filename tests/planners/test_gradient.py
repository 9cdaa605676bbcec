import numpy as np
import pytest
import torch

from models.dynamics import Rollout
from planners.gradient import GradientRefinement
from planners.icem import ICEM
from planners.objective import RolloutObjective
from planners.planner import Horizon
from planners.risk import mean

HORIZON = Horizon(12, 2, 0.1, np.zeros(2))
TARGET = torch.linspace(-1.4, 0.9, 24).reshape(12, 2)


def bowl(actions):
    return (actions - TARGET).square().sum(dim=(1, 2))


def make(kind=GradientRefinement, **settings):
    return kind(HORIZON, generator=torch.Generator().manual_seed(0), now=lambda: 0.0, **settings)


def test_gradients_find_what_sampling_misses_and_projection_holds_the_bounds():
    sampled = make(ICEM, iterations=2).plan(bowl)
    refined = make(steps=60).plan(bowl)
    floor = float(bowl(TARGET.clamp(-1, 1)[None]))
    assert refined.cost - floor < 0.01 < 0.01 * (sampled.cost - floor) * 100
    assert refined.actions == pytest.approx(TARGET.clamp(-1, 1).numpy(), abs=0.05)


def test_the_plan_is_the_best_candidate_even_where_steps_overshoot():
    costs = []

    def objective(actions):
        cost = bowl(actions)
        if not actions.requires_grad:
            costs.append(cost.clone())
        return cost

    plan = make(learning_rate=1.5, steps=5).plan(objective)
    assert plan.cost == pytest.approx(float(torch.cat(costs).min()))
    assert plan.cost == pytest.approx(float(bowl(torch.tensor(plan.actions)[None])))


def test_gradients_that_are_not_finite_move_nothing():
    seen = []

    def spiked(actions):
        seen.append(actions.detach().clone())
        kink = (actions[1, 0, 0] - actions[1, 0, 0]).sqrt()
        return bowl(actions) + torch.nn.functional.pad(kink[None], (1, len(actions) - 2))

    make(steps=3, starts=3).plan(spiked)
    refined = [candidates for candidates in seen if len(candidates) == 3]
    assert torch.cat(seen).isfinite().all()
    assert len(refined) == 6
    assert torch.equal(refined[0][1], refined[-1][1])
    assert (bowl(refined[-1]) < bowl(refined[0])).tolist() == [True, False, True]


def test_an_objective_without_gradients_is_refused():
    with pytest.raises(ValueError, match="keeps no gradients"):
        make().plan(lambda actions: bowl(actions.detach()))


def test_refines_through_a_rollout_objective():
    class Integrator:
        state_size, action_size = 2, 2

        def rollout(self, state, actions, *, generator=None):
            moved = state + actions.cumsum(dim=1)
            return Rollout(torch.cat([state.expand(len(actions), 1, 2), moved], dim=1)[None])

    goal = torch.tensor([0.7, -0.4])

    def cost(rollout, actions):
        return (rollout.states[:, :, 1:] - goal).square().sum(dim=(2, 3)) + 0.1 * actions.square().sum(dim=(1, 2))

    objective = RolloutObjective(Integrator(), cost, mean, torch.zeros(2), seed=0)
    refined, sampled = make(steps=100).plan(objective), make(ICEM).plan(objective)
    assert refined.cost < 0.5 * sampled.cost
    assert refined.actions.sum(axis=0) == pytest.approx(goal.numpy(), abs=0.05)
