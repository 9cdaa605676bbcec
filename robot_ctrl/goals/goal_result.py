"""What a goal picture led to, judged and written down: RUN/goals/NUMBER/ with its page, video and numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.robot import Array, Observation
from models.image.familiarity import Familiarity
from planners.plan import Plan
from robot_ctrl.errors import RunError
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.goals.goal_page import GoalPage
from robot_ctrl.goals.goal_record import GoalRecord, record_goal
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.video import VideoWriter


@dataclass(frozen=True)
class PictureGoal:
    """A goal picture and where it came from.

    Attributes:
        title: what people call it.
        picture: (h, w, 3) uint8, as the model sees it.
        joints: (nu,) the pose in it, rad, where it is known.
    """

    title: str
    picture: Picture
    joints: Array | None = None


def familiar(task: GoalImageTask, goal: PictureGoal) -> Familiarity:
    """How much a goal picture looks like the data.

    Raises:
        RunError: if it does not.
    """
    familiarity = task.familiarity(goal.picture)
    if familiarity.strange:
        raise RunError(
            f"the goal picture does not look like anything that this model has seen: its latent state is "
            f"{familiarity.latent:.1f} times as far from the data as is allowed, its pixels "
            f"{familiarity.pixels:.1f} times. Take it with the same camera, in the same scene, with the robot "
            f"within its reach."
        )
    return familiarity


def next_folder(run: Path) -> Path:
    """The folder of a run's next goal, not made yet."""
    goals = run / "goals"
    numbers = [int(path.name) for path in goals.glob("*") if re.fullmatch(r"\d+", path.name)]
    return goals / f"{max(numbers, default=-1) + 1:03d}"


def write_result(
    folder: Path,
    task: GoalImageTask,
    task_name: str,
    goal: PictureGoal,
    observations: Sequence[Observation],
    plans: Sequence[Plan],
    frames: Sequence[Picture],
    **numbers: Any,
) -> str:
    """Judge an episode towards a goal picture, write its page, video and numbers; returns the verdict.

    Args:
        folder: where to; exists.
        task: with the model that was planned with.
        task_name: for the page.
        goal: what was wanted.
        observations: T of them, one per control period.
        plans: the plan in force at each but the last.
        frames: (h, w, 3) pictures for the video, one per control period.
        numbers: further ones for goal.json.
    """
    states = np.stack([task.state(observation) for observation in observations])
    encoded = task.encoded(goal.picture)
    record = record_goal(task.image_model, task.image_spec, encoded, states, observations, plans)
    metres = None
    if goal.joints is not None:
        metres = np.array([task.distance_to(observation, goal.joints) for observation in observations])
    verdict = _verdict(record, metres, task.period)
    cv2.imwrite(str(folder / "goal.png"), cv2.cvtColor(goal.picture, cv2.COLOR_RGB2BGR))
    _write_video(folder / "goal.mp4", frames, goal.picture, task.period)
    familiarity = task.familiarity(goal.picture)
    page = GoalPage(task_name, goal.title, verdict, goal.picture, familiarity, task.period, record, metres, "goal.mp4")
    page.write(RunFolder(folder).report)
    RunFolder(folder).write_json("goal.json", {"goal": goal.title} | _numbers(record, metres) | numbers)
    return verdict


def _write_video(path: Path, frames: Sequence[Picture], goal: Picture, period: float) -> None:
    height, width, _ = frames[0].shape
    goal_side = cv2.resize(goal, (height, height), interpolation=cv2.INTER_NEAREST)
    with VideoWriter(path, 1.0 / period, (width + height, height)) as video:
        for frame in frames:
            video.write(np.hstack([frame, goal_side]))


def _numbers(record: GoalRecord, metres: NDArray[np.float64] | None) -> dict[str, Any]:
    return {
        "reached": record.reached,
        "distance_start": float(record.distances[0]),
        "distance_end": float(record.distances[-1]),
        "metres_start": None if metres is None else float(metres[0]),
        "metres_end": None if metres is None else float(metres[-1]),
    }


def _verdict(record: GoalRecord, metres: NDArray[np.float64] | None, period: float) -> str:
    seconds = (len(record.distances) - 1) * period
    nearest = int(record.distances.argmin())
    now, near = record.distances[-1], record.arrival
    if record.reached:
        text = f"Reached after {seconds:.1f} s: the model's distance to the goal is {now:.2f}, and {near:.2f} is near."
    else:
        text = (
            f"Not reached in {seconds:.1f} s: the model's distance to the goal is {now:.2f}, and {near:.2f} would be "
            f"near; the least was {record.distances[nearest]:.2f} at {nearest * period:.1f} s. It may be out of reach."
        )
    if metres is not None:
        text += f" True distance: {metres[0] * 100:.1f} cm at the start, {metres[-1] * 100:.1f} cm at the end."
    return text
