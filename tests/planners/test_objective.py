import pytest
import torch

from models.dynamics import Rollout
from planners.objective import RolloutObjective
from planners.risk import cvar, entropic, mean, mean_std, worst

P = 5


class Drift:
    """A point that is pushed by its action and by noise; it ends when it leaves (−end, end)."""

    state_size, action_size = 2, 2

    def __init__(self, noise=0.5, end=None):
        self.noise, self.end, self.calls = noise, end, []

    def rollout(self, state, actions, *, generator=None):
        self.calls.append(len(actions))
        count = len(actions)
        x = state.expand(P, count, 2)
        states = [x]
        for u in actions.unbind(dim=1):
            x = x + u + self.noise * torch.randn(P, 1, 2, generator=generator)
            states.append(x)
        stacked = torch.stack(states, dim=2)
        alive = None if self.end is None else (stacked.abs() < self.end).all(dim=-1)
        return Rollout(stacked, alive=alive)


def distance(rollout, actions):
    return rollout.states[:, :, 1:].square().sum(dim=(2, 3))


def actions_of(count, seed=0):
    return 2 * torch.rand(count, 6, 2, generator=torch.Generator().manual_seed(seed)) - 1


def objective(model=None, cost=distance, risk=mean, state=None, **settings):
    state = torch.tensor([0.5, -0.5]) if state is None else state
    return RolloutObjective(model or Drift(), cost, risk, state, **{"seed": 3} | settings)


def test_is_the_risk_of_the_cost_of_the_rollout():
    actions = actions_of(7)
    model, generator = Drift(), torch.Generator().manual_seed(3)
    rollout = model.rollout(torch.tensor([0.5, -0.5]), actions, generator=generator)
    for risk in (mean, worst):
        expected = risk(distance(rollout, actions))
        assert torch.allclose(objective(risk=risk)(actions), expected)


def test_one_plan_meets_the_same_luck_at_every_call():
    costs = objective()
    assert torch.equal(costs(actions_of(4)), costs(actions_of(4)))
    assert torch.allclose(costs(actions_of(4)), costs(actions_of(9))[:4])
    assert not torch.allclose(costs(actions_of(4)), objective(seed=4)(actions_of(4)))


@pytest.mark.parametrize("chunk", [1, 3, 10, 100])
def test_chunks_change_nothing_and_bound_the_rollout(chunk):
    model = Drift()
    costs = objective(model, chunk=chunk)(actions_of(10))
    assert torch.allclose(costs, objective()(actions_of(10)))
    assert max(model.calls) <= chunk
    assert sum(model.calls) == 10


def test_particles_may_start_from_states_of_their_own():
    belief = torch.linspace(-1, 1, P)[:, None, None].expand(P, 1, 2)
    costs = objective(Drift(noise=0.0), cost=lambda rollout, actions: rollout.states[:, :, 0, 0], state=belief)
    assert costs(actions_of(4)).tolist() == pytest.approx([0.0] * 4, abs=1e-6)
    spread = objective(
        Drift(noise=0.0), lambda rollout, actions: rollout.states[:, :, 0, 0], worst, state=belief, chunk=2
    )
    assert spread(actions_of(3)).tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("risk", [mean, worst, mean_std(-3.0), cvar(0.2), entropic(0.1)])
def test_one_unusable_particle_makes_its_sequence_the_worst(bad, risk):
    def cost(rollout, actions):
        costs = distance(rollout, actions).clone()
        costs[2, 1] = bad
        return costs

    costs = objective(cost=cost, risk=risk)(actions_of(4))
    assert costs[1] == torch.inf
    assert costs[[0, 2, 3]].isfinite().all()


def test_records_nothing_for_gradients_unless_asked():
    costs = objective()(actions_of(4))
    assert not costs.requires_grad
    assert not costs.is_inference()
    with torch.no_grad():
        assert not objective()(actions_of(4).requires_grad_()).requires_grad


def test_gradients_are_those_of_the_costs():
    actions = actions_of(3).requires_grad_()
    costs = objective()
    (slopes,) = torch.autograd.grad(costs(actions).sum(), actions)
    for index in [(0, 0, 0), (1, 3, 1), (2, 5, 0)]:
        step = torch.zeros_like(slopes)
        step[index] = 0.01
        with torch.no_grad():
            numerical = (costs(actions + step) - costs(actions - step)).sum() / 0.02
        assert slopes[index] == pytest.approx(float(numerical), rel=1e-2)


def test_costs_with_gradients_look_past_ends():
    def cost(rollout, actions):
        costs = rollout.states[:, :, 1:].square().sum(dim=-1)
        return costs.sum(dim=-1) if rollout.alive is None else torch.where(rollout.alive[..., 1:], costs, 9.0).sum(-1)

    model = Drift(end=0.8)
    actions = torch.ones(1, 6, 2)
    masked = objective(model, cost)(actions)
    actions.requires_grad_()
    unmasked = objective(model, cost)(actions)
    assert masked.item() != pytest.approx(unmasked.item())
    (slopes,) = torch.autograd.grad(unmasked.sum(), actions)
    assert (slopes > 0).all()


def test_wrong_states_and_chunks_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        objective(state=torch.zeros(3))
    with pytest.raises(ValueError, match=r"\(5, 2, 2\)"):
        objective(state=torch.zeros(5, 2, 2))
    with pytest.raises(ValueError, match="chunk is 0"):
        objective(chunk=0)
