"""People as policies: commands from the keyboard or from a leader arm that is moved by hand."""

import numpy as np
from numpy.typing import NDArray

from hardware.errors import CommandRefusedError
from hardware.robot import Observation, Robot, RobotSpec
from robot_ctrl.keyboard import Keys

Array = NDArray[np.float64]

KEYS = ("aq", "sw", "de", "fr", "gt", "hy", "ju", "ki")
"""For each joint the keys that move it down and up."""

DONE, SPACE = "\n", " "


class KeyboardPolicy:
    """Each key press moves one joint's target by a step; a held key repeats.

    Targets stay within ``lead`` of the command in force, so that a robot that is slower than the keys does not
    catch up long after they were let go. Space drops what is left to catch up with. Enter ends the episode.

    Args:
        spec: the robot's joints; it must take position commands for at most eight.
        keys: what was typed since the last call.
        step: rad or m per key press.
        lead: how far targets may be ahead of the command in force, rad or m.

    Raises:
        ValueError: if the robot takes other commands or has too many joints, or a setting is not positive.
    """

    def __init__(self, spec: RobotSpec, keys: Keys, *, step: float = 0.04, lead: float = 0.15) -> None:
        if spec.command_mode != "position" or spec.action_size > len(KEYS):
            raise ValueError(
                f"{spec.name}: the keyboard drives up to {len(KEYS)} joints by position; it has {spec.action_size} by "
                f"{spec.command_mode}. Use a leader arm."
            )
        if not (step > 0 and lead > 0):
            raise ValueError(f"keyboard: step is {step} and lead {lead}; both must be above 0")
        self._keys, self._step, self._lead = keys, step, lead
        self._low, self._high = spec.command_limits
        self._moves = moves(spec)
        self._target: Array | None = None
        self.done = False

    def reset(self, seed: int) -> None:
        """Hold still until the next key."""
        self._target = None
        self.done = False

    def act(self, observation: Observation) -> Array:
        """The next command (nu,)."""
        command = np.asarray(observation.values["command"], dtype=np.float64)
        target = command.copy() if self._target is None else self._target
        for key in self._keys():
            if key in self._moves:
                joint, sign = self._moves[key]
                target[joint] += sign * self._step
            elif key == SPACE:
                target = command.copy()
            elif key == DONE:
                self.done = True
        near = np.clip(target, command - self._lead, command + self._lead)
        self._target = np.clip(near, np.minimum(self._low, command), np.maximum(self._high, command))
        return self._target.copy()


class LeaderPolicy:
    """Follows a second arm of the same joints, whose torque is off and which a person moves.

    The follower approaches the leader's first pose as its own limits allow; from then on it mirrors it.

    Args:
        follower: the robot that is driven.
        leader: the arm that is moved by hand, connected.

    Raises:
        ValueError: if their joints differ.
    """

    def __init__(self, follower: RobotSpec, leader: Robot) -> None:
        names = [joint.name for joint in follower.joints]
        theirs = [joint.name for joint in leader.spec.joints]
        if names != theirs:
            raise ValueError(
                f"{leader.spec.name} leads {', '.join(theirs)}, but {follower.name} has {', '.join(names)}; a leader "
                f"needs the follower's joints, in its order"
            )
        self._leader = leader
        self._low, self._high = follower.command_limits

    def reset(self, seed: int) -> None:
        """Nothing is kept."""

    def act(self, observation: Observation) -> Array:
        """The next command (nu,): where the leader is.

        Raises:
            CommandRefusedError: if the leader reports a position that is not finite.
        """
        position = np.asarray(self._leader.get_observation().values["joint_position"], dtype=np.float64)
        if not np.isfinite(position).all():
            raise CommandRefusedError(
                f"{self._leader.spec.name}: the leader reports positions of {position}; check its cable"
            )
        return np.clip(position, self._low, self._high)


def moves(spec: RobotSpec) -> dict[str, tuple[int, int]]:
    """Which joint each key moves, and to which side."""
    pairs = enumerate(KEYS[: spec.action_size])
    return {key: (joint, sign) for joint, pair in pairs for key, sign in zip(pair, (-1, 1), strict=True)}


def keys_help(spec: RobotSpec) -> str:
    """One line that says which keys move which joint down and up."""
    return "  ".join(f"{pair[0]}/{pair[1]} {joint.name}" for pair, joint in zip(KEYS, spec.joints, strict=False))
