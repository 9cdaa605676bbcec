"""What control and planner hand each other; free of torch, so that the control process is."""

from dataclasses import dataclass

from hardware.robot import Observation
from robot_ctrl.realtime.schedule import PlanFrom


@dataclass(frozen=True)
class Seen:
    """An observation, the episode that is on (None between episodes), and how far commands lag behind requests, s."""

    episode: int | None
    observation: Observation
    lag: float


@dataclass(frozen=True)
class EpisodePlan:
    """A plan for an episode, and how far the model that made it is trusted where the robot is now, in [0, 1]."""

    episode: int
    plan: PlanFrom
    trust: float
