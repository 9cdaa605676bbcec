"""A MuJoCo arm of two links with position servos, and recordings of it."""

import numpy as np

from hardware.clock import VirtualClock
from hardware.mujoco_robot import MujocoRobot
from hardware.robot import Observation
from hardware.safety import SafetyFilter
from robot_ctrl.recorder import EpisodeWriter

MJCF = """
<mujoco model="two_links">
  <compiler angle="radian"/>
  <option timestep="0.005"/>
  <worldbody>
    <light pos="0 0 2"/>
    <body name="target" mocap="true" pos="0.2 0 0.2"/>
    <body name="upper">
      <joint name="shoulder" axis="0 1 0" range="-2 2" limited="true" damping="0.3"/>
      <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.3"/>
      <body name="lower" pos="0.2 0 0">
        <joint name="elbow" axis="0 1 0" range="-2 2" limited="true" damping="{elbow_damping}"/>
        <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.2"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position joint="shoulder" kp="20" ctrllimited="true" ctrlrange="-2 2"/>
    <position joint="elbow" kp="20" ctrllimited="true" ctrlrange="-2 2"/>
  </actuator>
</mujoco>
"""
STEPS = 30


def two_links(tmp_path, elbow_damping=0.3):
    path = tmp_path / f"two_links_{elbow_damping}.xml"
    path.write_text(MJCF.format(elbow_damping=elbow_damping))
    return MujocoRobot(path, control_rate=20, velocity_limit=3.0)


def picture(number, size=(36, 48)):
    """Brighter from one to the next, with a dark left half."""
    image = np.full((*size, 3), 40 + 5 * number, np.uint8)
    image[:, : size[1] // 2] //= 2
    return image


def record(path, robot, *, steps=STEPS, metadata=None, camera=False, outcome="finished", greedy=False):
    """Drive a robot through its filter and record it, with plans' events; a greedy one asks for more than it may."""
    robot.connect()
    observation = robot.reset(0)
    safety = SafetyFilter(robot.spec)
    safety.reset(observation)
    rng = np.random.default_rng(1)
    command = observation.values["command"].copy()
    about = {"task": "two-links", "robot": robot.spec.name, "joints": "shoulder,elbow", "command_mode": "position"}
    clock = robot.clock if isinstance(robot.clock, VirtualClock) else VirtualClock()
    with EpisodeWriter(path, metadata=about if metadata is None else metadata, clock=clock) as writer:
        writer.write_observation(_with_camera(observation, 0, camera))
        for step in range(steps):
            command = command + rng.uniform(-0.1, 0.1, 2) + (0.5 if greedy and step == 5 else 0.0)
            sent = safety.send(robot, command)
            command = sent.sent.copy()
            observation = robot.get_observation()
            writer.write_action(sent, rng.uniform(-1, 1, 2))
            writer.write_observation(_with_camera(observation, step + 1, camera))
            if step == 10:
                writer.write_event("late plan", "the plan was 12 ms late <followed>")
        writer.close(outcome)
    return path


def _with_camera(observation, number, camera):
    if not camera:
        return observation
    return Observation(
        observation.sequence,
        observation.values,
        {"front": picture(number)},
        observation.read_start,
        observation.read_end,
    )
