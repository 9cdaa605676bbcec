import pickle
import subprocess
import sys

import numpy as np
import pytest

from planners.plan import Plan
from planners.proposal import Proposal

ACTIONS = np.array([[0.0], [0.4], [0.2], [-0.6]])


def make(interpolation="hold", actions=ACTIONS, **fields):
    return Plan(10.0, 0.1, actions, np.array([0.9]), interpolation, **fields)


def test_hold_keeps_each_action_for_one_dt_then_holds_still():
    plan = make()
    asked = [9.0, 10.0, 10.099, 10.1, 10.35, 10.399, 10.4, 99.0]
    assert [plan.at(time)[0] for time in asked] == pytest.approx([0, 0, 0, 0.4, -0.6, -0.6, 0.9, 0.9])


def test_linear_is_straight_between_knots_and_its_last_action_lasts():
    plan = make("linear")
    asked = [10.05, 10.1, 10.15, 10.225, 10.35, 10.41]
    assert [plan.at(time)[0] for time in asked] == pytest.approx([0.2, 0.4, 0.3, 0.0, -0.6, 0.9], abs=1e-6)


def test_cubic_reproduces_a_parabola_inside_and_passes_through_knots():
    knots = np.linspace(-1, 1, 9)
    plan = Plan(0.0, 0.25, (knots**2 / 2)[:, None], np.zeros(1), "cubic")
    times = np.linspace(0.25, 1.75, 31)
    assert [plan.at(t)[0] for t in times] == pytest.approx((times - 1) ** 2 / 2, abs=1e-6)
    assert [plan.at(0.25 * k)[0] for k in range(9)] == pytest.approx(knots**2 / 2, abs=1e-6)


def test_cubic_overshoot_is_cut_at_the_bounds():
    plan = Plan(0.0, 1.0, np.array([[0.0], [1.0], [1.0], [0.0]]), np.zeros(1), "cubic")
    assert plan.at(1.5)[0] == 1.0
    relaxed = Plan(0.0, 1.0, np.array([[0.0], [0.8], [0.8], [0.0]]), np.zeros(1), "cubic")
    assert relaxed.at(1.5)[0] > 0.8


def test_times_that_are_sums_of_floats_hit_the_knot_they_mean():
    dt = 0.02
    start = 123456.78
    plan = Plan(start, dt, np.arange(50)[:, None] / 50, np.zeros(1))
    time = start
    for k in range(50):
        assert plan.at(time)[0] == pytest.approx(k / 50)
        time += dt


@pytest.mark.parametrize("interpolation", ["hold", "linear", "cubic"])
@pytest.mark.parametrize("elapsed", [0.0, 0.03, 0.1, 0.25, 0.37, 5.0])
def test_a_shifted_plan_gives_what_the_plan_gives_at_the_new_times(interpolation, elapsed):
    plan = make(interpolation)
    shifted = plan.shifted(elapsed)
    assert shifted.start_time == pytest.approx(10.0 + elapsed)
    assert shifted.end_time == pytest.approx(plan.end_time + elapsed)
    for k in range(4):
        assert shifted.at(10.0 + elapsed + 0.1 * k) == pytest.approx(plan.at(10.0 + elapsed + 0.1 * k), abs=1e-6)


def test_whole_shifts_move_actions_states_gains_and_proposal():
    plan = make(
        states=np.arange(5)[:, None],
        gains=np.arange(1, 5)[:, None, None],
        proposal=Proposal(ACTIONS, np.stack([ACTIONS, -ACTIONS])),
    )
    shifted = plan.shifted(0.2)
    assert shifted.actions[:, 0] == pytest.approx([0.2, -0.6, 0.9, 0.9])
    assert shifted.states[:, 0] == pytest.approx([2, 3, 4, 4, 4])
    assert shifted.gains[:, 0, 0] == pytest.approx([3, 4, 0, 0])
    assert shifted.proposal.mean[:, 0] == pytest.approx([0.2, -0.6, 0.9, 0.9])
    assert shifted.proposal.elites[1, :, 0] == pytest.approx([-0.2, 0.6, 0.9, 0.9])


def test_states_are_interpolated_by_fractional_shifts():
    assert make(states=np.arange(5)[:, None]).shifted(0.05).states[:, 0] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4])


def test_a_proposal_that_cannot_shift_is_passed_on():
    assert make(proposal={"regularisation": 1.0}).shifted(0.1).proposal == {"regularisation": 1.0}


def test_arrays_are_read_only_float32_copies():
    mine = ACTIONS.astype(np.float32)
    plan = make(actions=mine)
    mine[0] = 1.0
    assert plan.actions[0, 0] == 0.0
    assert plan.actions.dtype == np.float32
    for array in (plan.actions, plan.hold_action, plan.at(10.0), plan.at(99.0), plan.shifted(0.1).actions):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"actions": np.zeros(4)}, r"\(4,\).*\(H, nu\)"),
        ({"actions": np.zeros((0, 1))}, r"\(0, 1\)"),
        ({"actions": np.zeros((4, 2))}, r"hold_action has shape \(1,\)"),
        ({"states": np.zeros((4, 3))}, r"states have shape \(4, 3\).*5"),
        ({"gains": np.zeros((4, 2, 3))}, r"gains have shape \(4, 2, 3\)"),
        ({"actions": np.full((4, 1), np.nan)}, "NaN"),
        ({"interpolation": "quintic"}, "'quintic'.*'hold', 'linear' or 'cubic'"),
    ],
)
def test_wrong_fields_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        make(**fields)


def test_wrong_times_are_refused():
    with pytest.raises(ValueError, match=r"dt is 0.*positive"):
        Plan(0.0, 0.0, ACTIONS, np.zeros(1))
    with pytest.raises(ValueError, match="NaN"):
        make().at(float("nan"))


def test_following_a_plan_needs_no_torch():
    plan = pickle.dumps(make(proposal=Proposal(ACTIONS)))
    code = (
        f"import sys, pickle, planners.registry; plan = pickle.loads({plan!r}).shifted(0.1);"
        "planners.registry.descriptions(); assert abs(plan.at(10.1)[0] - 0.4) < 1e-6;"
        "assert not {'torch', 'mujoco', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
