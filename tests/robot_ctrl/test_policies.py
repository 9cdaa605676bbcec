import numpy as np
import pytest
from point_mass import connected, drive

from robot_ctrl.policies import BasePolicy


def actions(kind: str, colour: float = 2.0, *, seed: int = 0, steps: int = 400) -> np.ndarray:
    task = connected(episode_steps=steps)
    result = drive(task, BasePolicy(task, kind, colour), policy_seed=seed)
    return np.array(result.actions)[:, 0]


@pytest.mark.parametrize("kind", ["uniform", "coloured"])
def test_noise_covers_the_range_evenly(kind: str) -> None:
    drawn = np.concatenate([actions(kind, 1.0, seed=seed) for seed in range(5)])
    assert np.abs(drawn).max() <= 1
    counts, _ = np.histogram(drawn, bins=4, range=(-1, 1))
    assert (counts > 0.7 * len(drawn) / 4).all()
    assert np.array_equal(actions(kind, seed=1), actions(kind, seed=1))
    assert not np.array_equal(actions(kind, seed=1), actions(kind, seed=2))


def test_the_colour_is_the_slope_of_the_spectrum() -> None:
    def smoothness(colour: float) -> float:
        drawn = actions("coloured", colour)
        return float(np.corrcoef(drawn[:-1], drawn[1:])[0, 1])

    assert abs(smoothness(0.0)) < 0.15
    assert smoothness(0.0) < smoothness(1.0) < smoothness(2.0)
    assert smoothness(2.0) > 0.9


def test_gentle_episodes_have_the_same_noise_but_weaker() -> None:
    task = connected()
    full, some = (BasePolicy(task, "coloured", 1.0, gentle=share) for share in (0.0, 0.5))

    def strength(seed: int) -> float:
        full.reset(seed)
        some.reset(seed)
        strong, weak = (
            np.array([policy.act(task.robot.get_observation()) for _ in range(12)]) for policy in (full, some)
        )
        factor = float((weak * strong).sum() / (strong * strong).sum())
        assert weak == pytest.approx(factor * strong)
        return factor

    strengths = np.array([strength(seed) for seed in range(60)])
    assert strengths.min() > 0
    assert 20 <= np.sum(strengths > 0.999) <= 40
    assert 0.25 < strengths[strengths < 0.999].mean() < 0.75


def test_holding_keeps_the_robot_where_it_is() -> None:
    task = connected()
    assert all(action == [0.0] for action in drive(task, BasePolicy(task, "hold")).actions)
    task = connected(driven_by="position")
    servoed = drive(task, BasePolicy(task, "hold"))
    positions = [observation.values["joint_position"][0] for observation in servoed.observations]
    assert positions == pytest.approx([positions[0]] * 13)


def test_noise_goes_on_beyond_the_episodes_length() -> None:
    task = connected(episode_steps=4)
    policy = BasePolicy(task, "uniform")
    policy.reset(0)
    drawn = [policy.act(task.robot.get_observation()).item() for _ in range(8)]
    assert drawn[:4] == drawn[4:]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_episodes_have_noise_too(steps: int) -> None:
    drawn = actions("coloured", steps=steps)
    assert drawn.shape == (steps,)
    assert np.isfinite(drawn).all()
