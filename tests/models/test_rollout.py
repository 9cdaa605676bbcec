import pytest
import torch
from known_systems import LINEAR, fitted, linear_data
from torch import Generator

from models import inference
from models.ensemble import ProbabilisticEnsemble
from models.lean_rollout import fits
from models.rollout import Doubt, draw_doubt, roll_out, roll_out_differentiably
from models.state import CommandColumns, StateSpec

MIXED = StateSpec(
    ("target", "angle", "x", "speed"),
    action_size=1,
    angles=(1,),
    unseen=(2,),
    command=CommandColumns((0,), (0.2,), (-0.5,), (0.5,)),
)

FOLLOWING = StateSpec(
    ("joint", "speed", "target"),
    action_size=1,
    command=CommandColumns((2,), (0.2,), (-5.0,), (5.0,), positions=(0,)),
)
RELATIVE = StateSpec(
    ("tool", "thing", "tool_rate"),
    action_size=1,
    unseen=(1,),
    derived=lambda states: states[..., 1:2] - states[..., :1],
)


def random_model(spec: StateSpec, **settings: object) -> ProbabilisticEnsemble:
    """Untrained, with statistics of the inputs and targets that are not trivial."""
    model = ProbabilisticEnsemble(spec, **({"hidden": (48, 48), "seed": 3} | settings))
    generator = Generator().manual_seed(9)
    for normalizer in (model._inputs, model._targets):
        normalizer.mean.copy_(torch.randn(len(normalizer.mean), generator=generator) * 0.1)
        normalizer.std.copy_(torch.rand(len(normalizer.std), generator=generator) * 0.4 + 0.1)
    model._reward_range = torch.tensor([-10.0, 10.0])
    model._freeze()
    return model


def both(model: ProbabilisticEnsemble, propagation: str, candidates: int):
    generator = Generator().manual_seed(0)
    start = torch.randn(model.state_size, generator=generator).expand(10, candidates, -1)
    actions = torch.rand(candidates, 6, 1, generator=generator) * 2 - 1
    scale = model._targets.std[: model.features.target_size]
    frozen = model._frozen_exact
    doubt = draw_doubt(propagation, horizon=6, particles=10, frozen=frozen, scale=scale, generator=generator)
    with torch.no_grad():
        return [roll(model.features, frozen, start, actions, doubt) for roll in (roll_out, roll_out_differentiably)]


@pytest.mark.parametrize("spec", [LINEAR, MIXED, FOLLOWING, RELATIVE])
@pytest.mark.parametrize("propagation", ["ts1", "tsinf", "moment-matching"])
@pytest.mark.parametrize("fused_rows", [1, 10**9])
def test_the_fast_path_equals_the_plain_one(spec, propagation, fused_rows, monkeypatch):
    monkeypatch.setattr(inference, "FUSED_ROWS", fused_rows)
    model = random_model(spec, learn_reward=True, learn_termination=True, particles=10)
    fast, plain = both(model, propagation, 7)
    assert torch.allclose(fast.states, plain.states, atol=2e-5)
    assert torch.allclose(fast.rewards, plain.rewards, atol=2e-5)
    assert torch.allclose(fast.end_logits, plain.end_logits, atol=2e-5)


def test_without_onednn_the_result_is_the_same(monkeypatch):
    fused = random_model(LINEAR)
    monkeypatch.setattr(inference, "FUSED_ROWS", 1)
    monkeypatch.setattr(inference, "fused_layers_available", lambda device: False)
    plain = random_model(LINEAR)
    actions = torch.rand(5, 4, 1)
    assert plain._frozen._packed is None
    assert torch.allclose(fused.rollout(torch.ones(2), actions).states, plain.rollout(torch.ones(2), actions).states)


def test_commands_are_advanced_exactly_and_the_network_sees_the_new_one():
    model = random_model(MIXED)
    actions = torch.tensor([1.0, 1.0, 1.0, -1.0]).view(1, 4, 1)
    start = torch.tensor([0.05, 0.0, 0.0, 0.0])
    states = model.rollout(start, actions, generator=Generator()).states
    assert torch.allclose(states[:, 0, :, 0], torch.tensor([0.05, 0.25, 0.45, 0.5, 0.3]))
    beyond = torch.tensor([0.5, 0.0, 0.0, 0.0])
    pushed = model.rollout(beyond, torch.ones(1, 2, 1)).states
    held = model.rollout(beyond, torch.zeros(1, 2, 1)).states
    assert torch.equal(pushed, held), "an action that the limit swallows must change nothing"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_networks_see_how_far_a_command_leads_its_joint(precision):
    model = random_model(FOLLOWING, precision=precision)
    actions = torch.zeros(1, 1, 1)
    with torch.no_grad():
        model._average.network.weights[0][:, 0] = 0
    model._freeze()
    led, same_lead = (
        model.rollout(torch.tensor([joint, 0.3, joint + 0.1]), actions).states[:, 0, 1] for joint in (0.0, 2.0)
    )
    assert torch.allclose(led + torch.tensor([2.0, 0.0, 2.0]), same_lead, atol=1e-5)
    assert torch.allclose(led[:, 2], torch.tensor(0.1))


def test_gradients_of_actions_match_finite_differences():
    model = random_model(MIXED, learn_reward=True)
    actions = (torch.rand(2, 4, 1) * 0.4 - 0.2).requires_grad_()

    def total(values: torch.Tensor) -> torch.Tensor:
        rollout = model.rollout(torch.zeros(4), values, generator=Generator().manual_seed(1))
        return rollout.states[..., 1:].square().sum() + rollout.rewards.sum()

    (gradient,) = torch.autograd.grad(total(actions), actions)
    step = 1e-2
    for index in range(4):
        offset = torch.zeros(2, 4, 1)
        offset[1, index] = step
        with torch.no_grad():
            slope = (total(actions + offset) - total(actions - offset)) / (2 * step)
        assert gradient[1, index, 0] == pytest.approx(float(slope), rel=0.05, abs=0.02)


def test_bfloat16_ranks_candidates_as_float32_does():
    data = linear_data(1000)
    exact, _ = fitted(data, steps=200, hidden=(64, 64))
    rounded = ProbabilisticEnsemble(LINEAR, hidden=(64, 64), precision="bf16")
    rounded.load_state_dict(exact.state_dict())
    actions = torch.rand(400, 15, 1, generator=Generator().manual_seed(5)) * 2 - 1
    elites = []
    for model in (exact, rounded):
        states = model.rollout(torch.tensor([1.0, 0.0]), actions, generator=Generator().manual_seed(6)).states
        assert states.dtype == torch.float32
        elites.append(set(states.square().sum((2, 3)).mean(0).topk(40, largest=False).indices.tolist()))
    assert len(elites[0] & elites[1]) >= 36


def test_bfloat16_does_not_lose_a_column_with_a_large_mean():
    data = linear_data(1000, noise=torch.zeros(2))
    data.states[:, 0] += 1000
    data.next_states[:, 0] += 1000
    exact, _ = fitted(data, steps=200)
    rounded = ProbabilisticEnsemble(LINEAR, hidden=(32, 32), precision="bf16")
    rounded.load_state_dict(exact.state_dict())
    actions = torch.zeros(1, 1, 1)
    for offset in (-2.0, 2.0):
        start = torch.tensor([1000 + offset, 0.0])
        moved = [model.rollout(start, actions).states[:, 0, 1, 1].mean() for model in (exact, rounded)]
        assert moved[1] == pytest.approx(float(moved[0]), abs=0.02)
        assert abs(moved[0]) > 0.2


def test_the_same_generator_state_gives_the_same_rollout():
    model = random_model(LINEAR, precision="bf16")
    actions = torch.rand(8, 5, 1)
    first, second = (
        model.rollout(torch.ones(2), actions, generator=Generator().manual_seed(4)).states for _ in range(2)
    )
    assert torch.equal(first, second)


def test_rollouts_work_in_inference_mode_and_out_of_it():
    model = random_model(LINEAR)
    with torch.inference_mode():
        inside = model.rollout(torch.ones(2), torch.ones(3, 2, 1)).states.clone()
    assert torch.equal(inside, model.rollout(torch.ones(2), torch.ones(3, 2, 1)).states)


@pytest.mark.parametrize("start", [(20,), (33, 20), (2, 33, 20)])
def test_the_lean_path_of_a_small_network_equals_the_plain_one(start):
    spec = StateSpec(tuple(map(str, range(20))), action_size=6)
    model = random_model(spec, members=1, head="deterministic", hidden=(50,), particles=1)
    generator = Generator().manual_seed(2)
    state = torch.randn(start, generator=generator)
    actions = torch.rand(33, 5, 6, generator=generator) * 2 - 1
    nothing = Doubt(None, None, None)
    assert fits(model.features, model._frozen, nothing)
    lean = model.rollout(state, actions).states
    particles = state.expand(len(lean), 33, 20)
    plain = roll_out_differentiably(model.features, model._frozen_exact, particles, actions, nothing).states
    assert torch.allclose(lean, plain.detach(), atol=2e-5)


def test_models_with_more_to_say_do_not_take_the_lean_path():
    nothing = Doubt(None, None, None)
    settings = {"members": 1, "head": "deterministic", "particles": 1}
    for model in (
        random_model(LINEAR, **settings, hidden=(8,), learn_reward=True),
        random_model(MIXED, **settings, hidden=(8,)),
        random_model(LINEAR, **settings, hidden=(8,), precision="bf16"),
        random_model(LINEAR, **settings, hidden=(8, 8)),
    ):
        assert not fits(model.features, model._frozen, nothing)


def test_networks_see_what_a_task_derives():
    model = random_model(RELATIVE)
    with torch.no_grad():
        model._average.network.weights[0][:, 0] = 0
    model._freeze()
    actions = torch.zeros(1, 1, 1)
    near, moved, apart = (
        model.rollout(torch.tensor(start), actions).states[:, 0, 1] - torch.tensor(start)
        for start in ([0.0, 0.1, 0.3], [2.0, 2.1, 0.3], [2.0, 2.4, 0.3])
    )
    assert torch.allclose(near, moved, atol=1e-5)
    assert not torch.allclose(near, apart, atol=1e-3)
