"""Keeps an arm off itself, its table, keep-out spheres and the walls of its workspace.

Twice: commands that come close are bent to the nearest ones that approach no faster than in proportion to the
distance left (a barrier condition for each close pair); and whatever is to be sent must leave the whole braking
motion clear. The first lets an arm glide along an obstacle, the second is what it may rely on.
"""

import numpy as np

from hardware.barrier import RESIDUAL, NearestCommand
from hardware.motion_limits import Motion
from hardware.robot import Array
from hardware.twin import KinematicTwin, Proximity

APPROACH = 8.0
"""1/s; the distance left to a margin may shrink by this part of itself per second."""

INFLUENCE = 0.05
"""m beyond its margin at which a pair gets a barrier condition."""

ROWS = 12
"""Most barrier conditions at once; the closest pairs get them."""

SAMPLES = 5
"""Poses of a braking motion that are looked at."""

START_SLACK = 0.002
"""m; how much closer than at the start parts may come that start closer than their margin: on the way apart, the
closest points of deep overlaps jump."""


class CollisionGuard:
    """Bends and blocks commands by an arm's twin.

    Args:
        twin: of the arm, with the joints in the order of commands.
        size: joints, nu.
        period: seconds between commands.
    """

    def __init__(self, twin: KinematicTwin, size: int, period: float) -> None:
        self._twin = twin
        self._period = period
        self._nearest = NearestCommand(size, ROWS)
        self._start: dict[tuple[str, str], float] = {}

    def reset(self, start: Array) -> None:
        """Begin at joint positions (nu,): parts that are too close there may be, until they are clear."""
        self._start = {near.pair: near.distance - START_SLACK for near in self._twin.collisions(start)}

    def near(self, position: Array) -> list[Proximity]:
        """What gets a barrier condition at joint positions (nu,), the closest first."""
        near = self._twin.proximities(position, INFLUENCE)[:ROWS]
        if self._start:
            self._forget_clear(near)
        return near

    def admits(self, command: Array, previous: Array, near: list[Proximity]) -> bool:
        """Whether a command, (nu,), meets the barrier conditions of what is near the one before it."""
        if not near:
            return True
        rows, floor = _conditions(near)
        return bool((rows @ ((command - previous) / self._period) >= floor - RESIDUAL).all())

    def nearest(self, wanted: Array, previous: Array, near: list[Proximity], low: Array, high: Array) -> Array | None:
        """The command closest to a wanted one that meets the barrier conditions.

        Args:
            wanted: (nu,) rad.
            previous: (nu,) the command before.
            near: what is near that.
            low: (nu,) lowest commands that may be sent.
            high: (nu,) highest commands that may be sent.

        Returns:
            The command; None if none was found and verified.
        """
        rows, floor = _conditions(near)
        slowest, fastest = (low - previous) / self._period, (high - previous) / self._period
        answer = self._nearest.solve((wanted - previous) / self._period, slowest, fastest, rows, floor)
        return None if answer is None else np.minimum(np.maximum(previous + answer * self._period, low), high)

    def blocked(self, motion: Motion, previous: Array) -> Proximity | None:
        """What a motion or the braking after it would hit; None if the way is clear.

        Pairs that are within their margin already may move, but not closer.

        Args:
            motion: what may be sent next.
            previous: (nu,) the command before.
        """
        before: dict[tuple[str, str], float] | None = None
        for position in motion.way_to_rest(SAMPLES):
            for hit in self._twin.collisions(position):
                if self._slack(hit) >= 0:
                    continue
                if before is None:
                    before = {near.pair: near.distance for near in self._twin.collisions(previous)}
                if hit.distance < before.get(hit.pair, np.inf):
                    return hit
        return None

    def _slack(self, near: Proximity) -> float:
        """Distance left until the margin, or until how close the two were at the start, m."""
        return near.distance - min(near.margin, self._start.get(near.pair, np.inf))

    def _forget_clear(self, near: list[Proximity]) -> None:
        """Parts that have come clear must stay so."""
        close = {proximity.pair for proximity in near if proximity.slack < 0}
        self._start = {pair: distance for pair, distance in self._start.items() if pair in close}


def _conditions(near: list[Proximity]) -> tuple[Array, Array]:
    """Barrier conditions on joint velocities: rows (m, nu), and what their products must reach, (m,) m/s."""
    rows = np.array([proximity.gradient for proximity in near])
    return rows, np.array([-APPROACH * max(proximity.slack, 0.0) for proximity in near])
