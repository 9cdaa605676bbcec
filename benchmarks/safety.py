"""The arm's safety filter: what it costs, and whether its quadratic programme is always right.

    python benchmarks/safety.py                 about two minutes

Solves 10⁵ random problems with the filter's solver and with Lawson and Hanson's least distance programming ("Solving
Least Squares Problems", chapter 23; scipy's nnls), then measures the filter. Writes benchmarks/results/safety.csv.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from hardware.barrier import NearestCommand
from robot_ctrl.benches.safety import Problem, random_problem, safety_rows
from robot_ctrl.benches.table import Row, markdown, write_csv

RESULTS = Path(__file__).parent / "results" / "safety.csv"
SIZES = ((6, 12), (7, 8), (12, 24))
EXACT = 1e-7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100_000, help="random problems in all")
    given = parser.parse_args()
    rows = [*safety_rows(), *(row for size in SIZES for row in agreement(*size, given.problems // len(SIZES) + 1))]
    write_csv(rows, RESULTS)
    print(markdown(rows))


def agreement(joints: int, most_rows: int, problems: int) -> list[Row]:
    """How many problems are answered otherwise than by the reference, and how far apart answers are."""
    rng = np.random.default_rng([joints, most_rows])
    solver = NearestCommand(joints, most_rows)
    impossible = refused = wrong = 0
    largest = 0.0
    for _ in range(problems):
        problem = random_problem(rng, joints, most_rows)
        answer, reference = solver.solve(*problem), least_distance(problem)
        impossible += reference is None
        if answer is None:
            refused += reference is not None
        elif reference is None:
            wrong += 1
        else:
            error = float(np.abs(answer - reference).max())
            largest = max(largest, error)
            wrong += error > EXACT
    setting = f"{problems} random problems, {joints} joints, up to {most_rows} rows"
    note = f"{impossible} have no answer; {refused} of the others were refused; largest error {largest:.1e}"
    return [
        Row("safety: QP", setting, 1, "fp64", None, "least distance programming", None, "wrong answers", wrong,
            at_most=0, note=note),
    ]  # fmt: skip


def least_distance(problem: Problem) -> np.ndarray | None:
    """The reference's answer; None where no command meets all conditions."""
    desired, low, high, rows, floor = problem
    size = len(desired)
    sides = np.vstack((np.eye(size), -np.eye(size), rows))
    ends = np.concatenate((low, -high, floor)) - sides @ desired
    target = np.zeros(size + 1)
    target[-1] = 1.0
    matrix = np.vstack((sides.T, ends))
    residual = matrix @ nnls(matrix, target, maxiter=10_000)[0] - target
    return None if np.linalg.norm(residual) < 1e-9 else desired - residual[:size] / residual[size]


if __name__ == "__main__":
    main()
