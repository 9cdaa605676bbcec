import io

import pytest
import torch
from known_systems import DRIFT, LINEAR, PUSH, fitted, linear_data, linear_step
from torch import Generator

from models.averaging import WINDOW, AveragedNetwork
from models.ensemble import ProbabilisticEnsemble
from models.features import Features
from models.fitting import Data, Loss, Sampler, descend
from models.network import EnsembleNetwork, truncated_normal
from models.normalizer import Normalizer
from models.split import bootstrap_tables, holdout_rows
from models.transitions import Transitions
from models.unrolling import Unrolling


def network(members: int = 2) -> EnsembleNetwork:
    return EnsembleNetwork(
        members=members, inputs=1, hidden=(8,), targets=1, logits=0, gaussian=True,
        generator=Generator().manual_seed(0),
    )  # fmt: skip


def table(values: torch.Tensor, holdout: int, tables: list[torch.Tensor]) -> Data:
    rows = len(values)
    return Data(values, values.clone(), None, tables, [part[:0] for part in tables], torch.arange(rows - holdout, rows))


def test_held_out_rows_stay_held_out():
    early, late = holdout_rows(500, 0.1, 10_000, seed=4), holdout_rows(5000, 0.1, 10_000, seed=4)
    assert torch.equal(late[late < 500], early)
    assert len(late) == pytest.approx(500, rel=0.15)
    assert torch.equal(holdout_rows(5000, 0.1, 60, seed=4), late[:60])
    assert not torch.equal(holdout_rows(500, 0.1, 10_000, seed=5), early)


def test_members_see_their_own_resample_and_keep_it():
    rows = torch.arange(2000)
    first, second = bootstrap_tables(rows, 2, seed=0)
    assert len(first.unique()) / 2000 == pytest.approx(1 - 1 / torch.e, abs=0.04)
    assert first.bincount(minlength=2000).float().var() == pytest.approx(1, abs=0.15)
    assert not torch.equal(first, second)
    grown = bootstrap_tables(torch.arange(3000), 2, seed=0)[0]
    assert torch.equal(grown[grown < 2000], first)


def test_each_member_ends_with_its_own_best_weights():
    model = network()
    average = AveragedNetwork(model)
    values = torch.randn(200, 1, generator=Generator().manual_seed(1))
    data = table(values, 50, [torch.arange(150)] * 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    settings = {"generator": Generator(), "batch": 32, "fresh_fraction": 0.0, "patience": 50, "progress": None}
    descend(model, average, optimizer, data, max_steps=400, **settings)
    good = [value[0].clone() for value in average.network.parameters()]
    with torch.no_grad():
        for value in (*model.parameters(), *average.network.parameters()):
            value[1] += 0.3
    poisoned = table(values, 50, [torch.arange(150)] * 2)
    poisoned.targets[:150] += 4.0
    poisoned.targets[150:] = values[150:]
    with torch.no_grad():
        before = Loss(average.network, poisoned)(poisoned.holdout)
    _, best = descend(model, average, optimizer, poisoned, max_steps=60, **settings)
    assert all(torch.equal(value[0], kept) for value, kept in zip(average.network.parameters(), good, strict=True))
    assert best[0] == before[0]
    with torch.no_grad():
        after = Loss(average.network, poisoned)(poisoned.holdout)
    assert torch.allclose(after, best)


def test_an_average_looks_back_a_tenth_of_the_steps_then_its_window():
    model = network()
    average = AveragedNetwork(model)
    weight, averaged = model.weights[0], average.network.weights[0]
    for value in range(9000):
        with torch.no_grad():
            weight.fill_(float(value))
        average.follow(model)
        if value == 99:
            assert averaged[0, 0, 0].item() == pytest.approx(99 - 109 / 11, abs=1)
    assert averaged[0, 0, 0].item() == pytest.approx(8999 - WINDOW, abs=15)


def test_long_training_leaves_small_noise_small_where_another_target_is_noisy():
    """Under PETS's penalty on learned bounds the lower one rises: no target stayed below -5.7 here."""
    generator = Generator().manual_seed(0)
    inputs = torch.rand(400, 1, generator=generator)
    noise = torch.randn(400, 1, generator=generator)
    targets = torch.cat([inputs, noise] + [inputs] * 4, -1)
    model = EnsembleNetwork(
        members=1, inputs=1, hidden=(8,), targets=6, logits=0, gaussian=True, generator=Generator().manual_seed(0)
    )
    data = Data(inputs, targets, None, [torch.arange(400)], [torch.arange(0)], torch.arange(400))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    average = AveragedNetwork(model)
    descend(
        model, average, optimizer, data,
        generator=generator, batch=64, fresh_fraction=0.0, max_steps=1500, patience=100, progress=None,
    )  # fmt: skip
    with torch.no_grad():
        _, log_variance, _ = average.network(inputs.expand(1, -1, -1))
    medians = log_variance[0].median(0).values
    assert medians[1].item() == pytest.approx(noise.var().log().item(), abs=0.4)
    assert medians[[0, 2, 3, 4, 5]].max() < -7.5


def test_fresh_rows_get_their_share_of_a_batch():
    tables = [torch.arange(1000)]
    data = Data(torch.zeros(1000, 1), torch.zeros(1000, 1), None, tables, [torch.arange(990, 1000)], torch.arange(1))
    rows = Sampler(data, 100, 0.4).draw(50, Generator().manual_seed(0))
    assert rows.shape == (50, 1, 100)
    assert (rows >= 990).float().mean() == pytest.approx(0.406, abs=0.01)


def test_new_statistics_do_not_change_what_the_network_says():
    model = EnsembleNetwork(
        members=3, inputs=4, hidden=(16,), targets=2, logits=1, gaussian=True, generator=Generator()
    )
    raw = torch.randn(3, 10, 4)
    old_in, new_in = Normalizer(torch.randn(4), torch.rand(4) + 0.5), Normalizer(torch.randn(4), torch.rand(4) + 0.5)
    old_out, new_out = Normalizer(torch.randn(2), torch.rand(2) + 0.5), Normalizer(torch.randn(2), torch.rand(2) + 0.5)
    with torch.no_grad():
        mean, _, logits = model(old_in.normalize(raw))
        model.renormalize_inputs(old_in, new_in)
        model.renormalize_targets(old_out, new_out)
        new_mean, _, new_logits = model(new_in.normalize(raw))
    assert torch.allclose(new_out.restore(new_mean), old_out.restore(mean), atol=1e-5)
    assert torch.allclose(new_logits, logits, atol=1e-5)


def test_log_variances_stay_between_their_bounds():
    model = network()
    with torch.no_grad():
        model.biases[-1][..., 1] = torch.tensor([[50.0], [-50.0]])
        _, log_variance, _ = model(torch.zeros(2, 1, 1))
    assert log_variance[0].item() == pytest.approx(model.max_log_variance, abs=1e-2)
    assert log_variance[1].item() == pytest.approx(model.min_log_variance, abs=1e-2)


def test_truncated_normal_is_cut_at_two_standard_deviations():
    values = truncated_normal((100_000,), 0.5, Generator().manual_seed(0))
    assert values.abs().max() <= 1.0
    assert values.std() == pytest.approx(0.5 * 0.8796, rel=0.02)


def test_statistics_survive_a_large_mean_and_a_constant_column():
    values = torch.stack([1e4 + torch.arange(10.0), torch.full((10,), 0.1)], -1)
    normalizer = Normalizer.of(values, constant_std=1.0)
    assert normalizer.std.tolist() == pytest.approx([8.25**0.5, 1.0])
    assert normalizer.normalize(values)[:, 1].abs().max() < 1e-6


def test_refits_go_on_from_the_last_weights():
    data = linear_data(2000)
    model, first = fitted(data[:1000], steps=300, refit_steps=40)
    again = model.fit(data, generator=Generator())
    assert again.steps <= 40
    assert again.holdout_loss < first.holdout_loss + 0.15
    with pytest.raises(ValueError, match="the last fit had 2000"):
        model.fit(data[:10], generator=Generator())


def test_progress_is_reported_with_the_steps_done():
    seen: list[tuple[int, int]] = []
    model = ProbabilisticEnsemble(LINEAR, hidden=(8,), first_steps=50)
    model.fit(linear_data(200), generator=Generator(), progress=lambda done, most, loss: seen.append((done, most)))
    assert seen[-1] == (50, 50)


def test_elites_are_the_members_with_the_least_loss():
    model, report = fitted(linear_data(300), elites=2, particles=4, steps=40)
    ranked = sorted(range(5), key=lambda member: report.member_losses[member])
    assert model.elites == tuple(ranked[:2])
    assert model.rollout(torch.zeros(2), torch.zeros(1, 1, 1), generator=Generator()).states.shape[0] == 4


def test_the_same_seed_gives_the_same_fit():
    reports = [fitted(linear_data(300), steps=40)[1] for _ in range(2)]
    assert reports[0].member_losses == reports[1].member_losses


def test_a_checkpoint_survives_the_strict_loader_and_fitting_goes_on_bit_for_bit():
    data = linear_data(600)
    model, _ = fitted(data[:400], steps=40, refit_steps=40)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    copy = ProbabilisticEnsemble(LINEAR, hidden=(32, 32), first_steps=40, refit_steps=40, seed=17)
    copy.load_state_dict(torch.load(file, weights_only=True))
    actions = torch.rand(4, 6, 1)
    for _ in range(2):
        futures = [
            each.rollout(torch.ones(2), actions, generator=Generator().manual_seed(1)).states for each in (model, copy)
        ]
        assert torch.equal(*futures)
        assert torch.equal(model.novelty(data.states), copy.novelty(data.states))
        reports = [each.fit(data, generator=Generator().manual_seed(2)) for each in (model, copy)]
        assert reports[0].member_losses == reports[1].member_losses


def test_checkpoints_of_other_models_are_refused():
    state = ProbabilisticEnsemble(LINEAR).state_dict()
    with pytest.raises(ValueError, match=r"hidden is \[200, 200, 200\] where this model has \[8\]"):
        ProbabilisticEnsemble(LINEAR, hidden=(8,)).load_state_dict(state)
    with pytest.raises(ValueError, match="format version 99"):
        ProbabilisticEnsemble(LINEAR).load_state_dict(state | {"format_version": 99})


def test_tiny_data_sets_can_be_fitted():
    data = linear_data(2)
    model, report = fitted(data, steps=5)
    assert report.rows == 2
    assert isinstance(data, Transitions)
    assert model.rollout(torch.zeros(2), torch.zeros(1, 3, 1)).states.isfinite().all()


def noiseless_walks(episodes: int, length: int) -> Transitions:
    generator = Generator().manual_seed(0)
    states = [torch.randn(episodes, 2, generator=generator)]
    actions = torch.rand(episodes, length, 1, generator=generator) * 2 - 1
    for step in range(length):
        states.append(linear_step(states[-1], actions[:, step]))
    path = torch.stack(states, 1)
    numbers = torch.arange(episodes).repeat_interleave(length)
    return Transitions(
        path[:, :-1].reshape(-1, 2), actions.reshape(-1, 1), path[:, 1:].reshape(-1, 2), None, None, numbers
    )


def unrolling_of(data: Transitions, held_out: list[int], shift: float, steps: int) -> torch.Tensor:
    """The loss of a linear network that is right but for a constant error of each step."""
    model = EnsembleNetwork(members=1, inputs=3, hidden=(), targets=2, logits=0, gaussian=False, generator=Generator())
    with torch.no_grad():
        model.weights[0].copy_(torch.cat([DRIFT.T, PUSH]))
        model.biases[0].fill_(shift)
    rows = torch.tensor([[0]])
    features = Features(LINEAR)
    unrolling = Unrolling(
        features, Normalizer.identity(3), Normalizer.identity(2), data, torch.tensor(held_out, dtype=torch.int64), steps
    )
    mean, _, _ = model(features.inputs(data.states[rows], data.actions[rows]))
    return unrolling(model, rows, mean)


def test_errors_several_steps_ahead_add_up():
    data = noiseless_walks(3, 6)
    assert unrolling_of(data, [], 0.0, 4).item() == pytest.approx(0, abs=1e-9)
    first = torch.tensor([0.1, 0.1])
    second = first + first + DRIFT @ first
    third = second + DRIFT @ second + first
    expected = 0.25 * (second.square().mean() + third.square().mean())
    assert unrolling_of(data, [], 0.1, 3).item() == pytest.approx(expected.item(), rel=1e-4)


def test_unrolling_stops_at_held_out_rows_and_at_the_end_of_an_episode():
    data = noiseless_walks(3, 2)
    assert unrolling_of(data, [1], 0.1, 4).item() == 0
    two, four = unrolling_of(data, [], 0.1, 2), unrolling_of(data, [], 0.1, 4)
    assert four.item() == pytest.approx(two.item() / 3, rel=1e-5)


def test_training_on_several_steps_fits_the_system():
    data = noiseless_walks(40, 20)
    model, report = fitted(data, steps=150, multi_step=3)
    assert report.one_step_rmse < 0.2
    assert model.predict(data.states, data.actions).mean.isfinite().all()


def test_badly_predicted_rows_are_not_written_off_as_noise():
    """The gradient of a mean shrinks with 1 / σ under β-NLL, where it would with 1 / σ² under the likelihood."""
    data = table(torch.ones(4, 1), 0, [torch.arange(4)] * 2)
    gradients = []
    for shift in (0.0, 2.0):
        model = network()
        with torch.no_grad():
            model.weights[-1].zero_()
            model.biases[-1].zero_()
            model.biases[-1][..., 1] = -3.0 + shift
            model.min_log_variance, model.max_log_variance = -20.0, 20.0
        torch.autograd.backward(Loss(model, data)(torch.arange(4)).sum())
        gradients.append(float(model.biases[-1].grad[0, 0, 0]))
    assert gradients[0] / gradients[1] == pytest.approx(torch.e, rel=1e-3)
