import numpy as np
import pytest
import torch

from planners.icem import ICEM
from planners.planner import Horizon

HORIZON = Horizon(6, 2, 0.1, np.array([0.1, -0.1]))
TARGET = torch.tensor([0.4, -0.3])


class Bowl:
    def __init__(self):
        self.populations = []

    def __call__(self, actions):
        self.populations.append(actions.clone())
        return (actions - TARGET).square().sum(dim=(1, 2))


def make(**settings):
    return ICEM(HORIZON, generator=torch.Generator().manual_seed(0), now=lambda: 0.0, **settings)


def holds(population, candidate):
    return bool((population - torch.tensor(np.asarray(candidate))).abs().amax(dim=(1, 2)).min() < 1e-6)


def test_the_population_shrinks_down_to_twice_the_elites():
    bowl = Bowl()
    make(population=64, iterations=5, decay=2.0, elites=6).plan(bowl)
    assert [len(population) for population in bowl.populations] == [65, 32, 16, 12, 13]


def test_the_mean_is_costed_first_and_last():
    bowl = Bowl()
    plan = make(iterations=3, momentum=0.0).plan(bowl)
    assert holds(bowl.populations[0], np.tile(HORIZON.hold_action, (6, 1)))
    second = torch.cat(bowl.populations[:2])
    costs = (second - TARGET).square().sum(dim=(1, 2))
    kept = (bowl.populations[0] - TARGET).square().sum(dim=(1, 2)).topk(3, largest=False).indices
    pool = torch.cat([bowl.populations[1], bowl.populations[0][kept]])
    best = pool[(pool - TARGET).square().sum(dim=(1, 2)).topk(10, largest=False).indices]
    assert holds(bowl.populations[2], best.mean(dim=0))
    assert costs.min() == pytest.approx(plan.elite_costs[1], rel=1.0)


def test_elites_are_kept_so_the_best_never_gets_worse():
    bowl = Bowl()
    plan = make(iterations=6, execute="best").plan(bowl)
    every = torch.cat(bowl.populations)
    assert plan.cost == pytest.approx(float((every - TARGET).square().sum(dim=(1, 2)).min()))
    assert np.array_equal(plan.proposal.elites[0], plan.actions)
    assert list(plan.elite_costs) == sorted(plan.elite_costs, reverse=True)


def test_elites_move_to_the_next_plan_and_are_costed_there():
    first = make().plan(Bowl()).shifted(0.1)
    bowl = Bowl()
    make().plan(bowl, first)
    for elite in first.proposal.elites[:3]:
        assert holds(bowl.populations[0], elite)
    assert not holds(bowl.populations[0], first.proposal.elites[3])
    assert first.proposal.elites[0, -1] == pytest.approx(HORIZON.hold_action)


@pytest.mark.parametrize("execute", ["mean", "best"])
def test_executes_the_mean_or_the_best(execute):
    bowl = Bowl()
    plan = make(execute=execute).plan(bowl)
    assert holds(torch.cat(bowl.populations), plan.actions) == (execute == "best")
    assert np.array_equal(plan.actions, plan.proposal.mean) == (execute == "mean")
    mean_cost = float((torch.tensor(plan.proposal.mean) - TARGET).square().sum())
    assert mean_cost < plan.elite_costs[-1]


def test_beta_sets_how_smooth_candidates_are():
    def roughness(beta):
        bowl = Bowl()
        make(beta=beta, population=500, initial_std=0.1).plan(bowl)
        return float(bowl.populations[0].diff(dim=1).square().mean())

    assert roughness(3.0) < 0.6 * roughness(1.0) < 0.6 * roughness(0.0)
