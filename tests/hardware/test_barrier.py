"""The nearest command: known answers, an independent solver, and answers that do not hold."""

import numpy as np
import pytest
from scipy.optimize import nnls

from hardware.barrier import NearestCommand
from hardware.robot import Array

NONE = np.zeros((0, 2)), np.zeros(0)


def least_distance(desired: Array, low: Array, high: Array, rows: Array, floor: Array) -> Array | None:
    """The same programme by Lawson and Hanson's least distance programming, "Solving Least Squares Problems", 23."""
    size = len(desired)
    sides = np.vstack((np.eye(size), -np.eye(size), rows))
    ends = np.concatenate((low, -high, floor)) - sides @ desired
    target = np.zeros(size + 1)
    target[-1] = 1.0
    matrix = np.vstack((sides.T, ends))
    residual = matrix @ nnls(matrix, target, maxiter=1000)[0] - target
    return None if np.linalg.norm(residual) < 1e-9 else desired - residual[:size] / residual[size]


@pytest.mark.parametrize(
    ("desired", "rows", "floor", "nearest"),
    [
        ([0.5, -0.5], [], [], [0.5, -0.5]),
        ([3.0, -0.5], [], [], [1.0, -0.5]),
        ([0.0, -1.0], [[0.0, 1.0]], [-0.25], [0.0, -0.25]),
        ([0.0, 0.0], [[1.0, 1.0]], [1.0], [0.5, 0.5]),
        ([0.8, 0.8], [[-1.0, -1.0]], [-1.0], [0.5, 0.5]),
        ([2.0, 0.0], [[-1.0, -1.0]], [0.0], [1.0, -1.0]),
        ([-1.0, -1.0], [[1.0, 0.0], [0.0, 1.0]], [-0.1, 0.2], [-0.1, 0.2]),
    ],
)
def test_known_answers(desired: list[float], rows: list[list[float]], floor: list[float], nearest: list[float]) -> None:
    solver = NearestCommand(2, 3)
    answer = solver.solve(np.array(desired), -np.ones(2), np.ones(2), np.array(rows).reshape(-1, 2), np.array(floor))
    np.testing.assert_allclose(answer, nearest, atol=1e-9)


def test_rows_of_the_problem_before_do_not_linger() -> None:
    solver = NearestCommand(2, 3)
    solver.solve(np.zeros(2), -np.ones(2), np.ones(2), np.eye(2), np.full(2, 0.5))
    answer = solver.solve(np.array([-0.3, 0.2]), -np.ones(2), np.ones(2), *NONE)
    np.testing.assert_allclose(answer, [-0.3, 0.2])


def random_problem(rng: np.random.Generator, size: int, most_rows: int) -> tuple[Array, Array, Array, Array, Array]:
    """Boxes around 0 and barrier conditions that rest meets; in a fifth of them, conditions that nothing may meet."""
    count = int(rng.integers(0, most_rows + 1))
    floor = -rng.exponential(1.0, count) * (rng.random(count) < 0.7)
    if rng.random() < 0.2:
        floor += rng.uniform(0, 2, count)
    low, high = -rng.uniform(0, 3, size), rng.uniform(0, 3, size)
    return rng.normal(size=size) * 3, low, high, rng.normal(size=(count, size)), floor


def test_random_problems_are_solved_as_by_another_algorithm() -> None:
    rng = np.random.default_rng(0)
    solver = NearestCommand(6, 12)
    impossible = 0
    for _ in range(1000):
        problem = random_problem(rng, 6, 12)
        answer, reference = solver.solve(*problem), least_distance(*problem)
        if reference is None:
            impossible += 1
            assert answer is None
        else:
            np.testing.assert_allclose(answer, reference, atol=1e-8)
    assert 20 < impossible < 300


@pytest.mark.parametrize(
    ("wrong", "why"),
    [([5.0, 0.0], "out of the box"), ([0.0, -1.0], "past the row"), ([np.nan, 0.0], "no number")],
)
def test_an_answer_that_does_not_hold_is_not_given_out(
    wrong: list[float], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = NearestCommand(2, 1)

    def solve_wrongly() -> None:
        solver._answer[:] = wrong

    monkeypatch.setattr(solver, "call_solver", solve_wrongly)
    assert solver.solve(np.zeros(2), -np.ones(2), np.ones(2), np.array([[0.0, 1.0]]), np.zeros(1)) is None, why


def test_an_empty_box_has_no_answer() -> None:
    assert NearestCommand(2, 1).solve(np.zeros(2), np.ones(2), -np.ones(2), *NONE) is None


@pytest.mark.parametrize("where", range(5))
def test_what_is_not_a_number_has_no_answer(where: int) -> None:
    problem = [np.zeros(2), -np.ones(2), np.ones(2), np.array([[0.0, 1.0]]), np.zeros(1)]
    problem[where].flat[0] = np.nan
    solver = NearestCommand(2, 1)
    assert solver.solve(*problem) is None
    np.testing.assert_allclose(solver.solve(np.full(2, 0.5), -np.ones(2), np.ones(2), *NONE), 0.5)
