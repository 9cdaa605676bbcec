"""Your own robot loop, with a controller that robot-ctrl has learned.

    robot-ctrl run examples/my_arm/reach.yaml
    python examples/own_loop.py runs/reach

The controller needs an observation and answers with a command. How the robot is read and driven stays yours: here
MuJoCo stands for the robot's driver.
"""

import sys
from pathlib import Path

import mujoco
import numpy as np

from hardware.robot import Observation
from robot_ctrl.build import load_controller

PERIOD = 0.05


class MyArm:
    """Stands for the driver of your robot: it reads joints and takes position targets."""

    def __init__(self) -> None:
        self._model = mujoco.MjModel.from_xml_path(str(Path(__file__).parent / "my_arm" / "arm.xml"))
        self._data = mujoco.MjData(self._model)
        mujoco.mj_resetDataKeyframe(self._model, self._data, 0)
        self.move_to(self._data.qpos.copy())

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Joint positions, joint velocities, and the tip's position from the forward kinematics."""
        return self._data.qpos.copy(), self._data.qvel.copy(), self._data.site("tip").xpos.copy()

    def move_to(self, targets: np.ndarray) -> None:
        """Move towards joint targets for one control period."""
        self._data.ctrl[:] = targets
        mujoco.mj_step(self._model, self._data, round(PERIOD / self._model.opt.timestep))
        mujoco.mj_forward(self._model, self._data)


def observe(step: int, robot: MyArm, command: np.ndarray, goal: np.ndarray) -> Observation:
    """What task.state and task.goal read; task.state_spec.names lists the columns that they make of it."""
    position, velocity, tip = robot.read()
    values = {"qpos": position, "qvel": velocity, "site:tip": tip, "goal": goal, "command": command}
    return Observation(step, values)


def main(run: Path, goal: tuple[float, float, float] = (0.2, 0.1, 0.25), steps: int = 60) -> float:
    """Drive to a goal, 20 steps a second; returns the distance that is left, m."""
    _, controller, _ = load_controller(run)
    robot, target = MyArm(), np.array(goal)
    command, _, _ = robot.read()
    for step in range(steps):
        command = controller.act(observe(step, robot, command, target))
        robot.move_to(command)
    return float(np.linalg.norm(robot.read()[2] - target))


if __name__ == "__main__":
    print(f"{1000 * main(Path(sys.argv[1])):.0f} mm from the goal")
