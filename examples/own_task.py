"""A task of your own in Python: swing up a pendulum whose motor is too weak to lift it directly.

    robot-ctrl run examples/own_task.py:SwingUp

Write a task in Python when its cost is no sum of residuals, or its state needs arithmetic. A task says what the
robot is, what of an observation is the state, what actions mean and what imagined trajectories cost.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hardware.mujoco_robot import MujocoRobot
from hardware.robot import Observation
from models.state import StateSpec
from planners.cost import StepwiseCost, control_effort
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.task import Array, Task


class SwingUp(Task):
    """Swing up a pendulum with a weak motor, and hold it there."""

    # What suits the task; a YAML file and key=value arguments go over it.
    defaults: ClassVar[dict[str, Any]] = {"episodes": 8, "planner": {"horizon": 20}}

    def __init__(self, *, control_rate: float = 20.0, episode_steps: int = 80) -> None:
        """Keyword arguments are settings: task.control_rate and task.episode_steps on the command line."""
        model = Path(__file__).parent / "pendulum.xml"
        self.robot = MujocoRobot(model, control_rate=control_rate, on_reset=hang)
        self.episode_steps = episode_steps
        self.state_spec = StateSpec(("angle", "rate"), action_size=1, angles=(0,))
        self.action_scale = ActionScale.absolute(self.robot.spec)

    def state(self, observation: Observation) -> Array:
        """The angle from upright and its rate."""
        return np.concatenate([observation.values["qpos"], observation.values["qvel"]])

    def cost(self, goal: Tensor) -> StepwiseCost:
        """Terms that reports name, and their weights."""
        return StepwiseCost(
            {"upright": fall, "slow": speed, "control": control_effort},
            weights={"slow": 0.02, "control": 0.001},
        )

    def reward(self, observation: Observation) -> float:
        """Returns are sums of this: 1 upright, 0 hanging."""
        return float(1 + np.cos(observation.values["qpos"][0])) / 2

    def success(self, observations: Sequence[Observation]) -> bool:
        """Whether the last half second was spent within 15 degrees of upright."""
        return all(np.cos(o.values["qpos"][0]) > np.cos(np.radians(15)) for o in observations[-10:])


def fall(states: Tensor, actions: Tensor) -> Tensor:
    """0 upright, 2 hanging. States are (P, N, H + 1, nx) and the first is given: costs start at the second."""
    return 1 - states[..., 1:, 0].cos()


def speed(states: Tensor, actions: Tensor) -> Tensor:
    """The squared rate."""
    return states[..., 1:, 1].square()


def hang(model: Any, data: Any, rng: np.random.Generator) -> None:
    """Start near hanging down."""
    data.qpos[0] = np.pi + rng.uniform(-0.3, 0.3)
