"""The lecture's headline task: Gymnasium's half-cheetah with the cost that PETS was given."""

from typing import Any, ClassVar

from torch import Tensor

from hardware.gymnasium_robot import GymnasiumRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import Cost, StepwiseCost, control_effort
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task


class HalfCheetah(Task):
    """Run forwards (gym:HalfCheetah-v5 with PETS's known cost, Chua et al. 2018)."""

    defaults: ClassVar[dict[str, Any]] = {
        "env_steps": 40_000,
        "episodes": 41,
        "model": {"hidden": [200, 200], "refit_steps": 200},
        "planner": {"horizon": 3, "population": 48, "beta": 1.0, "initial_std": 1.0},
        "value": {},
        "learning": {"refit_every": 200, "base_policy": "coloured", "base_policy_colour": 1.0},
    }

    def __init__(self, *, lean_weight: float = 0.0) -> None:
        self.robot = GymnasiumRobot("HalfCheetah-v5")
        self.episode_steps = 1000
        self._lean_weight = lean_weight
        joints = ("height", "pitch", "bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
        names = (*joints, "x_rate", *(f"{joint}_rate" for joint in joints))
        self.state_spec = StateSpec(names, action_size=6, angles=(1,))
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """Joint positions without the horizontal one, and rates."""
        return observation.values["observation"]

    def cost(self, goal: Tensor) -> Cost:
        """The negative forward speed plus 0.1 times the squared action, and ``lean_weight`` · (1 − cos pitch).

        PETS's cost has no lean. Without it, a cheetah that has rolled onto its back stays there and slides.
        """
        weights = {"control": 0.1, "lean": self._lean_weight}
        return StepwiseCost({"speed": _slowness, "control": control_effort, "lean": _lean}, weights=weights)


def _slowness(states: Tensor, actions: Tensor) -> Tensor:
    return -states[..., 1:, 8]


def _lean(states: Tensor, actions: Tensor) -> Tensor:
    return 1 - states[..., 1:, 1].cos()
