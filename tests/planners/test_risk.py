import math

import pytest
import torch

from planners.risk import cvar, entropic, mean, mean_std, worst

COSTS = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [6.0, 4.0]])


@pytest.mark.parametrize(
    ("risk", "expected"),
    [
        (mean, [3.0, 1.0]),
        (worst, [6.0, 4.0]),
        (mean_std(2.0), [3 + 2 * math.sqrt(3.5), 1 + 2 * math.sqrt(3)]),
        (cvar(0.25), [6.0, 4.0]),
        (cvar(0.5), [4.5, 2.0]),
        (cvar(0.375), [5.0, 4 / 1.5]),
        (cvar(1.0), [3.0, 1.0]),
        (cvar(0.01), [6.0, 4.0]),
        (entropic(1.0), [math.log(sum(map(math.exp, (1, 2, 3, 6))) / 4), math.log((3 + math.exp(4)) / 4)]),
        (entropic(1e-3), [3.0, 1.0]),
        (entropic(1e3), [6.0, 4.0]),
    ],
)
def test_known_values(risk, expected):
    assert risk(COSTS).tolist() == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("risk", [mean, worst, mean_std(1.0), cvar(0.3), entropic(0.1)])
def test_one_particle_is_its_own_risk(risk):
    assert risk(COSTS[:1]).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("risk", [mean, worst, mean_std(0.5), cvar(0.3), entropic(2.0)])
def test_risk_moves_with_a_constant_and_ignores_the_order_of_particles(risk):
    assert risk(COSTS + 5).tolist() == pytest.approx((risk(COSTS) + 5).tolist())
    assert risk(COSTS.flip(0)).tolist() == pytest.approx(risk(COSTS).tolist())


def test_large_costs_do_not_overflow():
    assert entropic(1.0)(torch.tensor([[1e6], [0.0]])).item() == pytest.approx(1e6, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1.1, -0.5, float("nan")])
def test_impossible_shares_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha is"):
        cvar(alpha)


@pytest.mark.parametrize("theta", [0.0, -1.0, float("nan")])
def test_seeking_risk_is_refused(theta):
    with pytest.raises(ValueError, match="theta is"):
        entropic(theta)
