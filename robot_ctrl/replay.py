"""`robot-ctrl replay`: sends a recorded episode's commands to a simulated robot, and says how far the two come apart.

The simulated robot starts where the recording does, and every command goes through a safety filter, as it did then.
A recording of a simulation is met exactly; one of a physical arm shows, joint by joint, what the simulation lacks.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from hardware.errors import RenderingUnavailableError, RobotError
from hardware.mujoco_robot import MujocoRobot
from hardware.robot import Array, Observation, SimulatedRobot
from hardware.safety import SafetyFilter
from robot_ctrl.config import check_config, read_yaml
from robot_ctrl.episodes import Episode
from robot_ctrl.errors import RunError
from robot_ctrl.seeds import derive_seed
from robot_ctrl.steps import Steps, episode_files, read_steps, run_of
from robot_ctrl.tasks import make_task
from robot_ctrl.video import Image, VideoWriter, with_caption

logger = logging.getLogger(__name__)
COMPARED = "joint_position"


@dataclass(frozen=True)
class Replay:
    """How a replay compares with its recording.

    Attributes:
        path: the episode.
        joints: names of the nu joints.
        difference: (steps + 1, nu) replayed − recorded joint position at the start and after each command, rad or m.
        changed: commands that the safety filter changed.
        period: seconds between the simulation's commands.
        recorded_period: seconds between the recorded ones.
        ended: why it ended before the recording did; None if it did not.
        video: where it was filmed; None if it was not.
    """

    path: Path
    joints: tuple[str, ...]
    difference: Array
    changed: int
    period: float
    recorded_period: float
    ended: str | None
    video: Path | None

    def __str__(self) -> str:
        """A table, with a line per joint."""
        width = max(len("joint"), *map(len, self.joints))
        steps = len(self.difference) - 1
        lines = [
            f"{self.path}: {steps} commands, every {self.period * 1e3:.1f} ms; recorded every "
            f"{self.recorded_period * 1e3:.1f} ms. Replayed − recorded joint position, rad or m:",
            f"{'joint':{width}}  {'RMS':>9}  {'largest':>9}  {'at step':>7}  {'at end':>9}",
        ]
        for index, joint in enumerate(self.joints):
            column = self.difference[:, index]
            worst = int(np.argmax(np.abs(column)))
            lines.append(
                f"{joint:{width}}  {np.sqrt(np.mean(column**2)):9.5f}  {column[worst]:+9.5f}  {worst:7d}  "
                f"{column[-1]:+9.5f}"
            )
        if self.changed:
            lines.append(f"The safety filter changed {self.changed} of {steps} commands.")
        if self.ended:
            lines.append(f"The replay ended early: {self.ended}")
        if self.video:
            lines.append(f"Video: {self.video}")
        return "\n".join(lines)


def replay(
    run_or_episode: Path,
    robot: SimulatedRobot | None = None,
    *,
    number: int | None = None,
    task: str | None = None,
    video: Path | None = None,
) -> Replay:
    """Send a recorded episode's commands to a simulated robot.

    Args:
        run_or_episode: an episode's ``.mcap`` file, or a run folder, of which the last episode is taken.
        robot: the simulated robot; None takes that of the recording's task.
        number: which episode of a run folder.
        task: name of the task whose robot is taken, where the recording does not say.
        video: where to film the replay (``.mp4``).

    Raises:
        RunError: if there is nothing to replay, or the robot does not fit the recording.
    """
    path = episode_files(run_or_episode, number)[-1]
    steps = read_steps(path)
    robot = robot or _task_robot(path, steps.episode, task)
    _check_fit(robot, steps)
    if steps.measured(COMPARED) is None:
        raise RunError(f"{path}: no {COMPARED} was recorded, with which a replay could be compared.")
    robot.connect()
    try:
        start = place(robot, steps)
        return _drive(robot, steps, start, video)
    finally:
        robot.disconnect()


def place(robot: SimulatedRobot, steps: Steps) -> Observation:
    """Put a connected robot where a recording starts; returns what it reads there.

    MuJoCo robots are put into the recorded state; others into the episode's start, by its seed.

    Raises:
        RunError: if that is not where the recording starts.
    """
    metadata, first = steps.episode.metadata, steps.observations[0]
    seeds = [metadata.get(key, "") for key in ("seed", "episode")]
    seed = derive_seed(int(seeds[0]), "reset", int(seeds[1])) if all(map(str.isdecimal, seeds)) else 0
    here = robot.reset(seed)
    if isinstance(robot, MujocoRobot):
        return _put(robot, first.values)
    if not _same(here.values, first.values):
        raise RunError(
            f"{steps.episode.path}: {robot.spec.name} does not start where the recording does "
            f"({COMPARED} {here.values.get(COMPARED)}, recorded {first.values.get(COMPARED)}), and only MuJoCo robots "
            f"can be put there. Replay an episode of a run of this task."
        )
    return here


def _put(robot: MujocoRobot, values: Mapping[str, Array]) -> Observation:
    model, data = robot.model, robot.data
    qpos, qvel = values.get("qpos"), values.get("qvel")
    if qpos is not None and qvel is not None and (qpos.shape, qvel.shape) == (data.qpos.shape, data.qvel.shape):
        data.qpos[:], data.qvel[:] = qpos, qvel
    else:
        rates = values.get("joint_velocity", np.zeros(robot.spec.action_size))
        for joint, position, rate in zip(robot.spec.joints, values[COMPARED], rates, strict=True):
            index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, joint.name)
            if index < 0:
                raise RunError(f"{robot.spec.name} has no joint {joint.name!r} that could be put where it was.")
            data.qpos[model.jnt_qposadr[index]] = position
            data.qvel[model.jnt_dofadr[index]] = rate
    for body in np.flatnonzero(model.body_mocapid >= 0):
        shown = values.get(model.body(body).name)
        if shown is not None and shown.shape == (3,):
            data.mocap_pos[model.body_mocapid[body]] = shown
    mujoco.mj_forward(model, data)
    return robot.get_observation()


def _drive(robot: SimulatedRobot, steps: Steps, start: Observation, video: Path | None) -> Replay:
    safety = SafetyFilter(robot.spec)
    first = steps.observations[0].values
    safety.reset(Observation(0, {"command": first.get("command", start.values["command"])}))
    recorded = _recorded(steps)
    difference = [start.values[COMPARED] - recorded[0]]
    frames: list[Image] = []
    changed, ended = 0, None
    for number, command in enumerate(steps.commands):
        if video is not None and not _film(robot, frames, number):
            video = None
        try:
            sent = safety.send(robot, command.sent)
        except RobotError as error:
            ended = f"command {number}: {error}"
            break
        changed += bool(sent.reasons)
        if number + 1 < len(recorded):
            difference.append(robot.get_observation().values[COMPARED] - recorded[number + 1])
    if video is not None:
        _write(frames, video, robot.spec.control_rate)
    period = 1.0 / robot.spec.control_rate
    joints = tuple(joint.name for joint in robot.spec.joints)
    return Replay(steps.episode.path, joints, np.stack(difference), changed, period, steps.period, ended, video)


def _recorded(steps: Steps) -> Array:
    """(T or T + 1, nu) the recorded joint positions before each command, and after the last where it was read."""
    before = steps.measured(COMPARED)
    assert before is not None
    after = steps.last.values.get(COMPARED) if steps.last is not None else None
    return before if after is None else np.concatenate([before, after[None]])


def _film(robot: SimulatedRobot, frames: list[Image], number: int) -> bool:
    """Take a picture; false where there is no OpenGL."""
    try:
        frames.append(
            with_caption(robot.render(), f"{robot.spec.name}  replay  {number / robot.spec.control_rate:.2f} s")
        )
    except RenderingUnavailableError as error:
        logger.warning("no video: %s", error)
        return False
    return True


def _write(frames: list[Image], path: Path, rate: float) -> None:
    height, width, _ = frames[0].shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, rate, (width, height)) as film:
        for frame in frames:
            film.write(frame)


def _task_robot(path: Path, episode: Episode, task: str | None) -> SimulatedRobot:
    run = run_of(path)
    name = task or episode.metadata.get("task")
    if run is not None and task is None:
        config = run / "config.yaml"
        return make_task(check_config(read_yaml(config), str(config)).task).robot
    if name is None:
        raise RunError(f"{path}: the recording does not say of which task it is. Name one: --task arm-reach.")
    return make_task({"name": name}).robot


def _check_fit(robot: SimulatedRobot, steps: Steps) -> None:
    recorded = len(steps.commands[0].sent)
    if recorded != robot.spec.action_size:
        raise RunError(
            f"{steps.episode.path}: commands of {recorded} joints were recorded, and {robot.spec.name} has "
            f"{robot.spec.action_size}. Name the task that the recording is of: --task NAME."
        )


def _same(here: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    shared = set(here) & set(there) - {"reward", "command"}
    return bool(shared) and all(
        np.shape(here[name]) == np.shape(there[name]) and np.allclose(here[name], there[name], atol=1e-9)
        for name in shared
    )
