"""The nearest command that respects every limit at once, by a quadratic programme that is solved in microseconds.

    minimise ½ |u − desired|²   subject to   low ≤ u ≤ high,   rows · u ≥ floor

With u the joint velocities, the box holds position and velocity limits, and each row a control barrier condition
(Ames et al., "Control Barrier Functions: Theory and Applications", ECC 2019): the distance h to something may shrink
no faster than in proportion to what is left of it, ∇h · u ≥ −γ h.

The solver is daqp (Arnström, Bemporad and Axehill, "A Dual Active-Set Solver for Embedded Quadratic Programming Using
Recursive LDLᵀ Updates", IEEE TAC 2022) through CasADi's buffers, which leave out what a normal call spends on
conversions. An answer is only given out after it was put into the constraints.
"""

from typing import Any

import casadi
import numpy as np

from hardware.robot import Array

RESIDUAL = 1e-6
"""Largest violation of a constraint that an answer may have, in units of the constraint."""


class NearestCommand:
    """Solves the programme for a fixed number of joints and of rows at most.

    Args:
        size: joints, nu.
        rows: most barrier conditions.
    """

    def __init__(self, size: int, rows: int) -> None:
        self.size, self.rows = size, rows
        options = {"error_on_fail": False, "print_problem": False}
        sparsity = {"h": casadi.Sparsity.diag(size), "a": casadi.Sparsity.dense(rows, size)}
        self._function = casadi.conic("nearest", "daqp", sparsity, options)
        self._inputs = {
            "h": np.ones(size),
            "g": np.zeros(size),
            "a": np.zeros((rows, size), order="F"),
            "lba": np.full(rows, -np.inf),
            "uba": np.full(rows, np.inf),
            "lbx": np.zeros(size),
            "ubx": np.zeros(size),
        }
        self._answer = np.zeros(size)
        self._buffer: Any
        self._buffer, self.call_solver = self._function.buffer()
        for name, array in self._inputs.items():
            self._buffer.set_arg(self._function.index_in(name), array.ravel(order="K").data)
        self._buffer.set_res(self._function.index_out("x"), self._answer.data)

    def solve(self, desired: Array, low: Array, high: Array, rows: Array, floor: Array) -> Array | None:
        """The nearest command, (nu,).

        Args:
            desired: (nu,).
            low: (nu,) smallest values.
            high: (nu,) largest values.
            rows: (m, nu) barrier conditions, m at most ``self.rows``.
            floor: (m,) what each row's product with the command must reach.

        Returns:
            The command, verified; None if there is none, or the solver's answer does not hold.
        """
        count = len(floor)
        inputs = self._inputs
        np.negative(desired, out=inputs["g"])
        inputs["lbx"][:] = low
        inputs["ubx"][:] = high
        inputs["a"][:count] = rows
        inputs["a"][count:] = 0.0
        inputs["lba"][:count] = floor
        inputs["lba"][count:] = -np.inf
        try:
            self.call_solver()
        except RuntimeError:
            return None
        answer = np.minimum(np.maximum(self._answer, low), high)
        moved = np.abs(answer - self._answer).max()
        holds = moved <= RESIDUAL and bool((rows @ answer >= floor - RESIDUAL).all())
        return answer if holds else None
