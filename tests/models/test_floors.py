from known_systems import LINEAR

from models.ensemble import ProbabilisticEnsemble
from models.floors import Timing, time_fitting, time_planning


def test_efficiency_is_floor_over_measured():
    assert Timing(floor=1.0, measured=4.0).efficiency == 0.25


def test_planning_and_fitting_can_be_timed():
    model = ProbabilisticEnsemble(LINEAR, hidden=(16,), particles=5)
    planning = time_planning(model, candidates=8, horizon=3, repeats=1)
    fitting = time_fitting((3, 16, 4), members=2, batch=16, rows=64, steps=2, repeats=1)
    for timing in (planning, fitting):
        assert timing.floor > 0
        assert timing.measured > 0


def test_a_model_says_what_a_step_costs():
    model = ProbabilisticEnsemble(LINEAR, hidden=(16,), particles=5)
    assert model.layer_sizes == (3, 16, 4)
    assert model.flops_per_step(10) == 2 * (3 * 16 + 16 * 4) * 10 * 5
