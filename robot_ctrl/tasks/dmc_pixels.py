"""Any dm_control task seen through a camera: states, dynamics and reward are all learned from pictures."""

from typing import Any, ClassVar

from torch import Tensor

from hardware.dm_control_robot import DmControlRobot
from hardware.robot import CameraSpec
from models.image.frames import ImageSpec
from models.state import StateSpec
from planners.cost import Cost, RewardCost
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.errors import ConfigError
from robot_ctrl.goals.image_task import ImageTask
from robot_ctrl.task import Task

DEATH_COST = 100.0
_STEPS = 1000
"""Environment steps of an episode in the control suite."""


class PixelTask(ImageTask):
    """The state is what an image model makes of the first camera's pictures; the reward is learned with it."""

    defaults: ClassVar[dict[str, Any]] = {
        "env_steps": 50_000,
        "episodes": 200,
        "model": {"features": "keypoints", "encoding": "deterministic", "latent_size": 48, "dynamics_weight": 0.1}
        | {"distance_steps": 0, "unroll": 2, "batch_size": 20, "learning_rate": 2e-3}
        | {"first_steps": 1000, "refit_steps": 150, "far_unroll": 4, "far_steps": 600},
        "planner": {"horizon": 20, "population": 64, "elites": 10, "iterations": 3},
        "learning": {"base_policy_gentle": 0.5, "random_episodes": 10, "optimism": 1.0, "show_episodes": 1},
    }
    models: ClassVar[tuple[str, ...]] = ("latent-state-space",)
    learns_reward = True

    def _adopt(self, domain: str, task: str, action_repeat: int, picture_size: int) -> None:
        camera = CameraSpec("0", picture_size, picture_size, supersampling=3)
        self.robot = DmControlRobot(domain, task, action_repeat=action_repeat, cameras=[camera])
        self.env_steps_per_action = action_repeat
        self.episode_steps = _STEPS // action_repeat
        self.action_scale = ActionScale.absolute(self.robot.spec)
        actions = self.robot.spec.action_size
        self.state_spec = StateSpec((), action_size=actions)
        self.image_spec = ImageSpec("0", picture_size, picture_size, action_size=actions)

    def cost(self, goal: Tensor) -> Cost:
        """The negative learned reward."""
        return RewardCost(DEATH_COST)


def task_class(name: str) -> type[Task]:
    """The task class of ``pixels:domain-task``.

    Raises:
        ConfigError: if the name is not of this form.
    """
    domain, separator, task = name.removeprefix("pixels:").partition("-")
    if not separator:
        raise ConfigError(f"task {name!r}: name a dm_control task as pixels:domain-task, like pixels:cartpole-swingup.")

    class DmControlPixels(PixelTask):
        def __init__(self, *, action_repeat: int = 4, picture_size: int = 64) -> None:
            self._adopt(domain, task, action_repeat, picture_size)

    DmControlPixels.__doc__ = f"dm_control {domain}-{task} from pictures, reward learned."
    return DmControlPixels
