"""Spin a hinged body with a two-joint finger, dm_control's finger-spin."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task
from robot_ctrl.tolerance import linear_tolerance

SPIN_RATE = 15.0
"""The reward is 1 where the body turns faster than this, backwards, rad/s."""

PLANNED_RATE = 35.0
"""Up to which rate a flick pays for itself: the body slows down until the next."""

RATE_MARGIN = 3.0
"""How far below the rewarded rate the reward itself is still partly paid, which samples rarely reach at first."""

_FINGER_FROM_BODY = -0.4
_LINKS = (0.18, 0.161)
"""Metres, from dm_control's finger.xml: the finger's base along x, and its links up to the tip's centre."""


class FingerSpin(Task):
    """Keep a hinged body spinning by flicking it (dm_control finger-spin, reward known)."""

    defaults: ClassVar[dict[str, Any]] = {
        "env_steps": 50_000,
        "episodes": 50,
        "model": {"hidden": [200, 200], "refit_steps": 200},
        "planner": {
            "horizon": 3,
            "population": 48,
            "beta": 0.5,
            "initial_std": 1.0,
            "execute": "best",
        },
        "value": {},
        "learning": {"random_episodes": 2, "refit_every": 100},
    }

    def __init__(self, *, action_repeat: int = 2) -> None:
        self.robot = DmControlRobot("finger", "spin", action_repeat=action_repeat)
        self.env_steps_per_action = action_repeat
        self.episode_steps = 1000 // action_repeat
        joints = ("proximal", "distal", "body")
        names = (*joints, *(f"{joint}_rate" for joint in joints))
        self.state_spec = StateSpec(names, action_size=2, unseen=(2,), derived=tip_from_body)
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """Joint angles and rates."""
        return np.concatenate([observation.values["qpos"], observation.values["qvel"]])

    def cost(self, goal: Tensor) -> Cost:
        """Half the missed reward, with a margin; half falls linearly from ``SPIN_RATE`` forwards to ``PLANNED_RATE``.

        The second half shows the way, but to it 13 rad/s are hardly worse than 15: paid for it alone, the finger lets
        the body slow down far before it flicks again. Returns are the suite's reward alone.
        """
        return StepwiseCost({"rate": _missed_rate})


def tip_from_body(states: Tensor) -> Tensor:
    """Where the fingertip is and how it moves, as the body sees it.

    The body looks the same after half a turn, and so do these numbers: what is learned of contact with one end of it
    holds for the other.

    Args:
        states: (..., 6).

    Returns:
        (..., 6): the distance of their centres, the sine and cosine of twice the bearing in the body's frame, the
        gap to the body's outline (negative deep inside), and the tip's speed away from the body and around it.
    """
    upper, turn = states[..., 0], states[..., 2]
    lower = upper + states[..., 1]
    upper_rate = states[..., 3]
    lower_rate = upper_rate + states[..., 4]
    first, second = _LINKS
    x = _FINGER_FROM_BODY + first * upper.cos() + second * lower.cos()
    z = first * upper.sin() + second * lower.sin()
    x_rate = -first * upper.sin() * upper_rate - second * lower.sin() * lower_rate
    z_rate = first * upper.cos() * upper_rate + second * lower.cos() * lower_rate
    distance = torch.hypot(x, z).clamp(min=1e-3)
    across = x * turn.cos() + z * turn.sin()
    along = z * turn.cos() - x * turn.sin()
    gap = torch.hypot((across.abs() - 0.02).clamp(min=0), (along.abs() - 0.09).clamp(min=0)) - 0.07
    return torch.stack(
        [
            distance,
            2 * across * along / distance.square(),
            (along.square() - across.square()) / distance.square(),
            gap,
            (x_rate * x + z_rate * z) / distance,
            (z_rate * x - x_rate * z) / distance,
        ],
        -1,
    )


def _missed_rate(states: Tensor, actions: Tensor) -> Tensor:
    rate = -states[..., 1:, 5]
    rewarded = linear_tolerance(rate, low=SPIN_RATE, margin=RATE_MARGIN)
    on_the_way = linear_tolerance(rate, low=PLANNED_RATE, margin=PLANNED_RATE + SPIN_RATE)
    return 1 - (rewarded + on_the_way) / 2
