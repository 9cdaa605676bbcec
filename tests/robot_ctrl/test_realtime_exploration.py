import math

import numpy as np
import pytest

from robot_ctrl.realtime.exploration import Caution
from robot_ctrl.realtime.lag import LONGEST, Lag


def test_trust_falls_from_what_the_model_knows_to_what_it_does_not() -> None:
    caution = Caution(trusted=3.0, lost=10.0)
    assert [caution.trust(doubt) for doubt in (0.5, 3.0, 6.5, 10.0, 100.0, math.inf)] == [1, 1, 0.5, 0, 0, 0]
    assert caution.trust(math.nan) == 0


@pytest.mark.parametrize(("trusted", "lost"), [(0.0, 1.0), (3.0, 3.0), (5.0, 2.0)])
def test_thresholds_must_be_in_order(trusted: float, lost: float) -> None:
    with pytest.raises(ValueError, match="in this order"):
        Caution(trusted=trusted, lost=lost)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.06])
def test_the_lag_of_a_filter_is_found(seconds: float) -> None:
    lag = Lag(0.01)
    for tick in range(400):
        time = 0.01 * tick
        requested, sent = (np.array([np.sin(2 * t), np.cos(3 * t)]) for t in (time, time - seconds))
        lag.add(requested, sent)
    assert lag.seconds == pytest.approx(seconds, abs=0.006)


def test_an_arm_that_stands_has_no_lag_and_one_that_is_blocked_no_endless_one() -> None:
    lag = Lag(0.01)
    lag.add(np.zeros(2), np.zeros(2))
    lag.add(np.zeros(2), np.ones(2))
    assert lag.seconds == 0
    for tick in range(100):
        lag.add(np.full(2, 0.01 * tick), np.zeros(2))
    assert lag.seconds == LONGEST
