"""Take a goal picture where a person has brought the arm."""

from collections.abc import Callable

import numpy as np

from hardware.robot import Observation, RobotSpec
from robot_ctrl.goals.goal_result import PictureGoal
from robot_ctrl.guided import Take


def captured(camera: str, spec: RobotSpec, guide: Callable[[Take], None]) -> PictureGoal:
    """What a camera sees where a person brings the arm, and its joints there.

    Args:
        camera: its name in observations.
        spec: the robot's: joints that gravity pulls past their limits count as at their limits.
        guide: lets the person bring the arm; see ``robot_ctrl.guided``.
    """
    taken: list[Observation] = []

    def take(seen: Observation) -> bool:
        taken.append(seen)
        return True

    guide(take)
    joints = np.clip(taken[0].values["joint_position"], *spec.command_limits)
    title = f"Goal: captured at {', '.join(f'{joint:.2f}' for joint in joints)} rad"
    return PictureGoal(title, np.asarray(taken[0].images[camera]), joints)
