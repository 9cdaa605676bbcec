import numpy as np
import pytest

from robot_ctrl.tasks.pendulum_image import DAMPING, FASTEST, GRAVITY, LARGEST_TORQUE, LENGTH, MASS, PERIOD, Pendulum
from robot_ctrl.tasks.pendulum_image import PendulumImage as PendulumTask
from robot_ctrl.tasks.planar_image import (
    ALREADY_THERE,
    CLEARANCE,
    LONGEST_STEP,
    OBSTACLES,
    RADIUS,
    SIDE,
    PlanarImage,
    PlanarWorld,
    is_free,
    pushed_out,
)


def test_a_free_point_moves_by_its_command() -> None:
    at = PlanarWorld().step(np.array([20.0, 16.0]), np.array([0.5, -0.25]))
    assert at == pytest.approx([20 + 0.5 * LONGEST_STEP, 16 - 0.25 * LONGEST_STEP])


def test_an_obstacle_ahead_stops_the_point_at_contact() -> None:
    centre = OBSTACLES[0]
    start = centre + np.array([0.0, CLEARANCE + 1.0])
    at = PlanarWorld().step(start, np.array([0.0, -1.0]))
    assert at == pytest.approx(centre + np.array([0.0, CLEARANCE]), abs=1e-6)
    assert np.array_equal(pushed_out(at), at)


def test_an_obstacle_beside_the_way_lets_the_point_slide() -> None:
    start = OBSTACLES[0] + np.array([3.0, 4.0])
    at = PlanarWorld().step(start, np.array([0.0, -1.0]))
    assert np.linalg.norm(at - OBSTACLES[0]) == pytest.approx(CLEARANCE, abs=1e-6)
    assert at[0] > start[0]


def test_walls_let_the_point_slide() -> None:
    at = PlanarWorld().step(np.array([RADIUS, 24.0]), np.array([-1.0, 0.5]))
    assert at == pytest.approx([RADIUS, 24.0 + 0.5 * LONGEST_STEP])


def test_no_walk_enters_an_obstacle() -> None:
    world, rng = PlanarWorld(), np.random.default_rng(0)
    at, _ = world.begin(rng)
    for _ in range(1000):
        at = world.step(at, rng.uniform(-1, 1, 2))
        assert (np.linalg.norm(OBSTACLES - at, axis=1) > CLEARANCE - 1e-6).all()
        assert ((at >= RADIUS) & (at <= SIDE - RADIUS)).all()


def test_planar_goals_are_free_and_away_and_come_back_with_the_seed() -> None:
    task = PlanarImage()
    task.robot.connect()
    for seed in range(20):
        first = task.robot.reset(seed)
        assert is_free(first.values["goal"])
        assert task.measures([first])["start_distance"] >= ALREADY_THERE
    assert np.array_equal(first.values["goal"], task.robot.reset(19).values["goal"])
    assert np.array_equal(task.picture_of(first.values["state"]), first.images["above"])
    with pytest.raises(ValueError, match="no place for the point"):
        task.picture_of(OBSTACLES[0])


def test_the_picture_shows_where_the_point_is() -> None:
    place = np.array([14.0, 24.0])
    empty = PlanarWorld().draw(np.array([-50.0, -50.0]), 40, 40)[..., 0].astype(float)
    shown = PlanarWorld().draw(place, 40, 40)[..., 0] - empty
    rows, columns = np.mgrid[:40, :40] + 0.5
    assert (shown * columns).sum() / shown.sum() == pytest.approx(place[0], abs=0.05)
    assert (shown * rows).sum() / shown.sum() == pytest.approx(place[1], abs=0.05)
    assert shown.sum() / 255 == pytest.approx(np.pi * RADIUS**2, rel=0.05)


def test_a_drawn_world_goes_back_to_a_state() -> None:
    world = PlanarWorld()
    world.connect()
    world.reset(3)
    world.send_action(np.array([0.3, 0.4]))
    kept = world.get_state()
    seen = world.get_observation()
    world.send_action(np.array([-1.0, 1.0]))
    world.set_state(kept)
    again = world.get_observation()
    assert all(np.array_equal(seen.values[name], again.values[name]) for name in seen.values)
    with pytest.raises(ValueError, match="a state holds 7 numbers, not 3"):
        world.set_state(np.zeros(3))


def test_the_pendulum_stands_hangs_and_swings() -> None:
    pendulum, still = Pendulum(), np.zeros(1)
    assert pendulum.step(np.zeros(2), still) == pytest.approx([0, 0])
    state = np.array([0.9 * np.pi, 0.0])
    for _ in range(600):
        state = pendulum.step(state, still)
    assert abs(state[0]) == pytest.approx(np.pi, abs=1e-3)
    small, crossings = np.array([np.pi - 0.05, 0.0]), []
    for step in range(80):
        after = pendulum.step(small, still)
        if small[1] < 0 <= after[1] or small[1] > 0 >= after[1]:
            crossings.append(step)
        small = after
    damped = np.sqrt(GRAVITY / LENGTH - (DAMPING / (2 * MASS * LENGTH**2)) ** 2)
    assert np.diff(crossings).mean() * PERIOD == pytest.approx(np.pi / damped, rel=0.05)


def test_the_torque_lifts_the_pendulum() -> None:
    assert LARGEST_TORQUE > MASS * GRAVITY * LENGTH
    level = np.array([np.pi / 2, 0.0])
    assert Pendulum().step(level, np.array([-1.0]))[1] < 0
    assert abs(Pendulum().step(np.array([0.0, 0.9 * FASTEST]), np.array([1.0]))[1]) <= FASTEST


def test_a_pendulum_upright_at_rest_has_succeeded() -> None:
    task = PendulumTask()
    task.robot.connect()
    first = task.robot.reset(0)
    assert not task.success([first])
    task.robot.set_state(np.array([0.1, 0.0, 0.0, 0.0, 0.0]))
    assert task.success([task.robot.get_observation()])
    task.robot.set_state(np.array([0.1, 3.0, 0.0, 0.0, 0.0]))
    assert not task.success([task.robot.get_observation()])
    up, level = task.picture_of(np.zeros(1)), task.picture_of(np.array([np.pi / 2]))
    assert np.array_equal(np.rot90(up, -1), level)
