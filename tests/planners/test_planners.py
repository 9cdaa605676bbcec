"""One suite for all sampling planners: what any of them must do, with a criterion for each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from planners.plan import Plan
from planners.planner import Horizon
from planners.registry import PLANNERS, TRAJECTORY_OPTIMIZERS, descriptions, planner_class

STEPS, SIZE = 8, 2
HORIZON = Horizon(STEPS, SIZE, 0.1, np.array([0.3, -0.2]))

SETTINGS = {
    "random-shooting": {"population": 4000},
    "cem": {"iterations": 10},
    "icem": {"population": 200, "elites": 20, "iterations": 10, "beta": 0.0},
    "mppi": {"population": 400, "iterations": 20, "std": 0.3, "effective_samples": 20},
    "pddm": {"population": 400, "iterations": 40, "std": 0.3, "kappa": 30.0},
    "gradient": {"steps": 60},
}
NAMES = list(SETTINGS)


def make(name, horizon=HORIZON, seed=0, **settings):
    return planner_class(name)(
        horizon,
        generator=torch.Generator().manual_seed(seed),
        **{"now": lambda: 0.0} | SETTINGS[name] | settings,
    )


class Counted:
    """An objective that keeps every candidate it was given."""

    def __init__(self, cost):
        self.cost, self.seen = cost, []

    def __call__(self, actions):
        if not actions.requires_grad:
            self.seen.append(actions.clone())
        return self.cost(actions)

    @property
    def candidates(self):
        return torch.cat(self.seen)


class Clock:
    def __init__(self, time=0.0):
        self.time = time

    def __call__(self):
        return self.time


TARGET = torch.linspace(-0.6, 0.6, STEPS * SIZE).reshape(STEPS, SIZE)


def quadratic(actions):
    return (actions - TARGET).square().sum(dim=(1, 2))


def banana(actions):
    """Rosenbrock's chain over time, 0 at 0.5 everywhere; about 100 on average over the bounds."""
    x = 2 * actions[..., 0]
    return (20 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(dim=1)


def two_valleys(actions):
    """A broad valley of depth 1 around −0.5 and a narrow one of depth 2 around 0.5."""
    broad = (actions + 0.5).square().sum(dim=(1, 2))
    narrow = (actions - 0.5).square().sum(dim=(1, 2))
    return -torch.exp(-broad / 2) - 2 * torch.exp(-narrow / 0.5)


def cost_of(objective, plan):
    return float(objective(torch.tensor(plan.actions)[None]))


def test_the_suite_covers_every_planner():
    assert SETTINGS.keys() == PLANNERS.keys()
    assert descriptions().keys() == PLANNERS.keys() | TRAJECTORY_OPTIMIZERS.keys()
    assert all(line.endswith(".") and len(line) < 110 for line in descriptions().values())


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("random-shooting", 2.5),
        ("cem", 0.1),
        ("icem", 0.06),
        ("mppi", 0.05),
        ("pddm", 0.2),
        ("gradient", 0.003),
    ],
)
def test_finds_the_bottom_of_a_bowl(name, reached):
    for seed in range(3):
        plan = make(name, seed=seed).plan(quadratic)
        assert cost_of(quadratic, plan) < reached


@pytest.mark.parametrize(
    ("name", "reached"),
    [("random-shooting", 6.0), ("cem", 4.0), ("icem", 2.5), ("mppi", 4.0), ("pddm", 2.0), ("gradient", 0.05)],
)
def test_follows_a_curved_valley(name, reached):
    horizon = Horizon(4, 1, 0.1, np.array([-0.5]))
    assert cost_of(banana, plan_at_rest(horizon)) > 250
    for seed in range(3):
        plan = make(name, horizon, seed).plan(banana)
        assert cost_of(banana, plan) < reached


def plan_at_rest(horizon):
    return Plan(0.0, horizon.dt, np.tile(horizon.hold_action, (horizon.steps, 1)), horizon.hold_action)


# CEM's deviation is limited to half the distance to the bound, so it cannot see across from the decoy itself.
@pytest.mark.parametrize("name", NAMES)
def test_leaves_a_broad_decoy_for_a_deeper_narrow_valley(name):
    horizon = Horizon(2, 1, 0.1, np.array([0.0 if name == "cem" else -0.5]))
    for seed in range(3):
        plan = make(name, horizon, seed).plan(two_valleys)
        assert plan.actions == pytest.approx(np.full((2, 1), 0.45), abs=0.1)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("random-shooting", 4.0),
        ("cem", 1.03),
        ("icem", 1.03),
        ("mppi", 1.05),
        ("pddm", 1.2),
        ("gradient", 1.01),
    ],
)
def test_comes_close_to_the_linear_quadratic_optimum(name, ratio):
    dt, steps = 0.2, 10
    a = np.array([[1.0, dt], [0.0, 1.0]])
    b = np.array([[0.0], [2 * dt]])
    q, r, x0 = np.diag([1.0, 0.1]), np.array([[0.5]]), np.array([0.4, 0.0])
    value = q
    for _ in range(steps):
        gain = np.linalg.solve(r + b.T @ value @ b, b.T @ value @ a)
        value = q + a.T @ value @ (a - b @ gain)
    optimum = x0 @ value @ x0
    at, bt, qt = (torch.tensor(m, dtype=torch.float32) for m in (a, b, q))

    def objective(actions):
        x = torch.tensor(x0, dtype=torch.float32).expand(len(actions), 2)
        cost = ((x @ qt) * x).sum(dim=-1)
        for u in actions.unbind(dim=1):
            x = x @ at.T + u @ bt.T
            cost = cost + ((x @ qt) * x).sum(dim=-1) + 0.5 * u.square().sum(dim=-1)
        return cost

    horizon = Horizon(steps, 1, dt, np.zeros(1))
    for seed in range(3):
        reached = cost_of(objective, make(name, horizon, seed).plan(objective))
        assert optimum * (1 - 1e-5) <= reached < ratio * optimum


@pytest.mark.parametrize("name", NAMES)
def test_stays_within_bounds_where_the_optimum_is_outside(name):
    far = torch.tensor([3.0, -3.0])
    objective = Counted(lambda actions: (actions - far).square().sum(dim=(1, 2)))
    plan = make(name).plan(objective)
    assert objective.candidates.abs().max() <= 1
    assert np.abs(plan.actions).max() <= 1
    if name != "random-shooting":
        reached = plan.actions * np.array([1, -1])
        assert reached.min() > 0.55
        assert reached.mean() > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_leaves_a_bound_that_it_starts_on(name):
    horizon = Horizon(2, 1, 0.1, np.array([1.0]))
    plan = make(name, horizon).plan(lambda actions: actions.square().sum(dim=(1, 2)))
    assert np.abs(plan.actions).max() < (0.8 if name == "cem" else 0.2)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_plan_whatever_the_clock_does(name):
    jumps = iter(np.random.default_rng(0).uniform(0, 1e6, 10000))
    plans = [
        make(name, seed=1).plan(quadratic),
        make(name, seed=1, now=lambda: next(jumps)).plan(quadratic),
        make(name, seed=2).plan(quadratic),
    ]
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)
    assert plans[0].elite_costs == plans[1].elite_costs
    assert np.abs(plans[0].actions - plans[2].actions).max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_says_how_it_came_about(name):
    clock = Clock(5.0)
    objective = Counted(quadratic)
    plan = make(name, now=clock).plan(objective)
    assert (plan.start_time, plan.computed_at, plan.dt) == (5.0, 5.0, 0.1)
    assert plan.evaluated == len(objective.candidates)
    assert plan.finished in ("converged", "iterations")
    assert plan.iterations == len(plan.elite_costs) >= 1
    assert plan.cost == plan.elite_costs[-1]
    assert plan.elite_costs[-1] <= plan.elite_costs[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_unusable_costs_are_the_worst(name, bad):
    def objective(actions):
        lure = (actions - 0.5).square().sum(dim=(1, 2))
        return torch.where(actions[:, 0, 0] > 0, bad, lure + 1)

    horizon = Horizon(2, 2, 0.1, np.array([-0.3, 0.0]))
    plan = make(name, horizon).plan(objective)
    assert plan.finished != "fallback"
    assert np.isfinite(plan.cost)
    assert -0.2 < plan.actions[0, 0] <= 0
    assert plan.actions[1, 1] == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_fewer_usable_candidates_than_elites_are_enough(name):
    def objective(actions):
        usable = torch.arange(len(actions)) < 3
        return torch.where(usable, (actions - 0.5).square().sum(dim=(1, 2)), torch.nan)

    plan = make(name).plan(objective)
    assert plan.finished != "fallback"
    assert np.isfinite(plan.elite_costs).all()
    assert np.isfinite(plan.cost)


@pytest.mark.parametrize("name", NAMES)
def test_the_warm_start_is_costed_first(name):
    """So that a plan cut short at once is never worse than going on as before."""
    warm_start = replace(plan_at_rest(HORIZON), actions=0.9 * TARGET.numpy())
    objective = Counted(quadratic)
    make(name).plan(objective, warm_start)
    assert torch.allclose(objective.candidates[0], 0.9 * TARGET)


def nothing_works(actions):
    return torch.full((len(actions),), torch.nan) + 0 * actions.sum(dim=(1, 2))


@pytest.mark.parametrize("name", NAMES)
def test_falls_back_to_the_shifted_warm_start_or_to_holding_still(name):
    planner = make(name, now=Clock(7.0))
    held = planner.plan(nothing_works)
    assert (held.finished, held.cost, held.start_time) == ("fallback", float("inf"), 7.0)
    assert held.actions == pytest.approx(np.tile(HORIZON.hold_action, (STEPS, 1)))
    good = planner.plan(quadratic)
    warm_start = good.shifted(0.13)
    plan = planner.plan(nothing_works, warm_start)
    assert plan.finished == "fallback"
    assert plan.start_time == pytest.approx(7.13)
    np.testing.assert_array_equal(plan.actions, warm_start.actions)
    assert plan.proposal is warm_start.proposal
    assert planner.plan(quadratic, plan.shifted(0.1)).finished != "fallback"


@pytest.mark.parametrize("name", NAMES)
def test_a_deadline_that_has_passed_gives_the_fallback_without_costing_anything(name):
    objective = Counted(quadratic)
    plan = make(name, now=Clock(3.0)).plan(objective, deadline=3.0)
    assert (plan.finished, plan.evaluated, objective.seen) == ("fallback", 0, [])


class Timed:
    """An objective that takes a time per candidate, and per call, on an injected clock."""

    def __init__(self, clock, per_candidate, per_call=0.0):
        self.clock, self.per_candidate, self.per_call, self.took = clock, per_candidate, per_call, []

    def __call__(self, actions):
        took = self.per_call + self.per_candidate * len(actions)
        self.clock.time += took
        self.took.append(took)
        return quadratic(actions)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per_candidate", [1e-4, 1e-3, 4e-3])
def test_a_deadline_is_honoured_with_a_useful_plan(name, per_candidate):
    clock = Clock(100.0)
    planner = make(name, now=clock)
    objective = Timed(clock, per_candidate)
    plan = planner.plan(objective, deadline=100.1)
    assert clock.time <= 100.1 + 0.011
    if per_candidate >= 1e-3:
        assert plan.finished == "deadline"
        assert clock.time > 100.08
    at_rest = cost_of(quadratic, plan_at_rest(HORIZON))
    assert cost_of(quadratic, plan) < at_rest if per_candidate <= 1e-3 else cost_of(quadratic, plan) <= at_rest
    objective.took.clear()
    planner.plan(objective, deadline=clock.time + 0.1)
    assert max(objective.took[1:]) <= 0.0201
    if name != "gradient":
        assert np.median(objective.took) > 0.004


@pytest.mark.parametrize("name", NAMES)
def test_a_slow_objective_overruns_by_no_more_than_one_call(name):
    clock = Clock()
    planner = make(name, now=clock)
    planner.plan(Timed(clock, 1e-3), deadline=clock.time + 0.1)
    slow = Timed(clock, 0.0, per_call=0.5)
    plan = planner.plan(slow, deadline=clock.time + 0.1)
    assert len(slow.took) == 1
    assert plan.finished == "deadline"


@pytest.mark.parametrize("name", NAMES)
def test_calls_that_once_were_slow_are_not_made_smaller_for_good(name):
    clock = Clock()
    planner = make(name, now=clock)
    usual = Timed(clock, 0.0, per_call=0.012)
    for _ in range(10):
        planner.plan(Timed(clock, 0.0, per_call=0.06), deadline=clock.time + 0.1)
    for _ in range(10):
        usual.took.clear()
        planner.plan(usual, deadline=clock.time + 0.6)
    without = Timed(clock, 0.0, per_call=0.012)
    make(name, now=clock).plan(without)
    assert len(usual.took) <= len(without.took)


@pytest.mark.parametrize("name", NAMES)
def test_enough_time_changes_nothing(name):
    clock = Clock()
    timed = make(name, now=clock).plan(Timed(clock, 1e-5), deadline=1000.0)
    untimed = make(name).plan(quadratic)
    assert timed.finished == untimed.finished
    np.testing.assert_array_equal(timed.actions, untimed.actions)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random-shooting"])
def test_a_warm_start_needs_fewer_iterations(name):
    good = make(name).plan(quadratic)
    once = {"steps": 1, "iterations": 1} if name == "gradient" else {"iterations": 1}
    cold = cost_of(quadratic, make(name, **once).plan(quadratic))
    warm = cost_of(quadratic, make(name, **once).plan(quadratic, good))
    assert warm < 0.5 * cold


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_start_is_followed_in_time(name):
    """The bowl moves as the plan does, so the shifted plan is at its bottom at once."""
    slope = torch.linspace(-0.5, 0.5, STEPS)[:, None].expand(STEPS, SIZE)
    ideal = Plan(0.0, 0.1, slope.numpy(), HORIZON.hold_action, "linear")
    warm_start = ideal.shifted(0.05)
    expected = slope + 0.5 / (STEPS - 1)
    expected[-1] = 0.5
    assert warm_start.actions == pytest.approx(expected.numpy(), abs=1e-6)
    objective = Counted(lambda actions: (actions - expected).square().sum(dim=(1, 2)))
    plan = make(name).plan(objective, warm_start)
    assert plan.start_time == pytest.approx(0.05)
    assert cost_of(objective, plan) < 0.15


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", [quadratic, nothing_works])
def test_a_plan_holds_where_its_warm_start_would(name, objective):
    """A robot that is commanded by position holds still at another action wherever it stands."""
    moved = replace(plan_at_rest(HORIZON), hold_action=np.array([-0.7, 0.7]))
    plan = make(name).plan(objective, moved)
    assert plan.at(99.0) == pytest.approx([-0.7, 0.7])
    assert plan.shifted(0.1).actions[-1] == pytest.approx([-0.7, 0.7])


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_start_of_another_shape_is_refused(name):
    other = Plan(0.0, 0.1, np.zeros((STEPS + 1, SIZE)), np.zeros(SIZE))
    with pytest.raises(ValueError, match=r"\(9, 2\).*\(8, 2\)"):
        make(name).plan(quadratic, other)


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_that_forgets_to_sum_is_refused(name):
    with pytest.raises(ValueError, match=r"shape.*must return \(\d+,\)"):
        make(name).plan(lambda actions: actions.square().sum(dim=2))


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("random-shooting", "population", 0),
        ("cem", "elites", 401),
        ("cem", "alpha", 1.5),
        ("cem", "initial_std", 0.0),
        ("icem", "beta", -1.0),
        ("icem", "decay", 0.9),
        ("icem", "keep", 2.0),
        ("icem", "execute", "median"),
        ("mppi", "temperature", 0.0),
        ("mppi", "effective_samples", 0.5),
        ("mppi", "iterations", 0),
        ("mppi", "knots", 0),
        ("pddm", "beta", 0.0),
        ("pddm", "beta", 1.1),
        ("pddm", "kappa", float("nan")),
        ("gradient", "starts", 11),
        ("gradient", "learning_rate", -0.1),
    ],
)
def test_settings_outside_their_limits_are_refused(name, setting, value):
    with pytest.raises(ValueError, match=f"{setting} is {value!r}; it must be"):
        make(name, **{setting: value})


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"'simulated-annealing'.*icem"):
        planner_class("simulated-annealing")


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("dt", 0.0), ("hold_action", np.array([0.0, 2.0]))])
def test_impossible_horizons_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        Horizon(**{"steps": 3, "action_size": 2, "dt": 0.1, "hold_action": np.zeros(2)} | {field: value})
