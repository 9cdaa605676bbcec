import math

import pytest
import torch

from planners.noise import coloured, filtered, smooth_noise, spline, truncated_normal, white

COUNT = 20000


def draw(noise, steps, size=1, count=COUNT, seed=0):
    return noise((count, steps, size), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30])
def test_coloured_noise_has_unit_variance_at_every_step(beta, steps):
    samples = draw(coloured(beta), steps, size=2)
    assert samples.shape == (COUNT, steps, 2)
    assert samples.mean(dim=0).abs().max() < 5 / math.sqrt(COUNT)
    assert (samples.var(dim=0) - 1).abs().max() < 5 * math.sqrt(2 / COUNT)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_coloured_noise_has_a_power_law_spectrum(beta):
    steps = 128
    power = torch.fft.rfft(draw(coloured(beta), steps, count=4000)[..., 0]).abs().square().mean(dim=0)
    frequency = torch.fft.rfftfreq(steps)
    log_f, log_p = frequency[1:-1].log(), power[1:-1].log()
    log_f, log_p = log_f - log_f.mean(), log_p - log_p.mean()
    assert (log_f @ log_p) / (log_f @ log_f) == pytest.approx(-beta, abs=0.05)
    if beta:
        assert power[0] == pytest.approx(float(power[1]), rel=0.2)


def test_coloured_noise_of_exponent_zero_is_white_for_every_horizon():
    for steps in (2, 5, 6):
        samples = draw(coloured(1e-9), steps)[..., 0]
        assert torch.cov(samples.T).numpy() == pytest.approx(torch.eye(steps).numpy(), abs=0.05)


def test_dimensions_and_candidates_are_independent():
    samples = draw(coloured(3.0), 6, size=2)
    assert abs(float((samples[:, 2, 0] * samples[:, 2, 1]).mean())) < 5 / math.sqrt(COUNT)
    assert abs(float((samples[:-1, 2, 0] * samples[1:, 2, 0]).mean())) < 5 / math.sqrt(COUNT)


def test_held_splines_share_the_horizon_evenly():
    samples = draw(spline(3, "hold"), 6, count=10)
    assert torch.equal(samples[:, 0::2], samples[:, 1::2])
    assert not torch.isclose(samples[:, 1], samples[:, 2]).any()


def test_linear_splines_are_straight_between_knots_at_both_ends():
    samples = draw(spline(3, "linear"), 9)
    assert samples[:, 0:5].diff(n=2, dim=1).abs().max() < 1e-5
    assert samples[:, 4:9].diff(n=2, dim=1).abs().max() < 1e-5
    assert samples[:, 3:6].diff(n=2, dim=1).abs().max() > 0.1
    assert samples[:, [0, 4, 8]].var(dim=0).numpy() == pytest.approx(1.0, abs=0.05)


def test_cubic_splines_are_smoother_than_linear_ones():
    linear, cubic = (draw(spline(5, kind), 41) for kind in ("linear", "cubic"))
    assert torch.allclose(linear[:, ::10], cubic[:, ::10], atol=1e-5)
    assert cubic.diff(n=2, dim=1).abs().amax(dim=1).mean() < 0.6 * linear.diff(n=2, dim=1).abs().amax(dim=1).mean()


def test_more_knots_than_steps_is_white():
    assert torch.equal(draw(spline(9, "cubic"), 4), draw(white, 4))


def test_filtered_noise_follows_its_recursion():
    beta = 0.3
    raw, samples = draw(white, 5), draw(filtered(beta), 5)
    expected = torch.zeros_like(raw[:, 0])
    for t in range(5):
        expected = beta * raw[:, t] + (1 - beta) * expected
        assert torch.allclose(samples[:, t], expected, atol=1e-6)
    assert torch.allclose(draw(filtered(1.0), 5), raw)


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_truncated_normal_has_its_moments_and_limits(limit):
    samples = truncated_normal((100, 200, 10), torch.Generator().manual_seed(0), limit=limit)
    density = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)
    inside = math.erf(limit / math.sqrt(2))
    assert samples.abs().max() <= limit
    assert samples.abs().max() > 0.999 * limit
    assert float(samples.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(samples.var()) == pytest.approx(1 - 2 * limit * density / inside, abs=0.01)
    below = float((samples < 0.5).double().mean())
    assert below == pytest.approx(0.5 + math.erf(0.5 / math.sqrt(2)) / 2 / inside, abs=0.005)


@pytest.mark.parametrize("noise", [white, coloured(2.0), spline(3, "cubic"), filtered(0.5), truncated_normal])
def test_noise_comes_from_the_generator_alone(noise):
    assert torch.equal(draw(noise, 6, count=5, seed=1), draw(noise, 6, count=5, seed=1))
    assert not torch.equal(draw(noise, 6, count=5, seed=1), draw(noise, 6, count=5, seed=2))


def test_settings_name_the_noise():
    assert torch.equal(draw(smooth_noise(2.0, None, "cubic"), 6), draw(coloured(2.0), 6))
    assert torch.equal(draw(smooth_noise(0.0, 3, "linear"), 6), draw(spline(3, "linear"), 6))
