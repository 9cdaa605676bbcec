"""Keeps an arm off itself, its table, keep-out spheres and the walls of its workspace.

Twice: commands that come close are bent to the nearest ones that approach no faster than in proportion to the
distance left (a barrier condition for each close pair); and whatever is to be sent must leave the whole braking
motion clear. The first lets an arm glide along an obstacle, the second is what it may rely on.
"""

import numpy as np

from hardware.barrier import NearestCommand
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

    def nearest(
        self, wanted: Array, previous: Array, low: Array, high: Array, velocity: Array
    ) -> tuple[Array | None, list[Proximity]]:
        """The command closest to a wanted one that meets the limits and comes near nothing too fast.

        Args:
            wanted: (nu,) rad.
            previous: (nu,) the command before.
            low: (nu,) smallest positions.
            high: (nu,) largest positions.
            velocity: (nu,) largest speeds.

        Returns:
            The command, ``wanted`` itself where nothing is in its way, None if none was found and verified; and what
            is near.
        """
        near = self._twin.proximities(previous, INFLUENCE)[:ROWS]
        if not near:
            return wanted, near
        rows = np.array([proximity.gradient for proximity in near])
        floor = np.array([-APPROACH * max(proximity.slack, 0.0) for proximity in near])
        desired = (wanted - previous) / self._period
        if (rows @ desired >= floor).all():
            return wanted, near
        slowest = np.maximum(-velocity, (low - previous) / self._period)
        fastest = np.minimum(velocity, (high - previous) / self._period)
        answer = self._nearest.solve(desired, slowest, fastest, rows, floor)
        if answer is None:
            return None, near
        return np.minimum(np.maximum(previous + answer * self._period, low), high), near

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
                if before is None:
                    before = {near.pair: near.distance for near in self._twin.collisions(previous)}
                if hit.distance < before.get(hit.pair, np.inf):
                    return hit
        return None
