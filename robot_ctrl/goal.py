"""`robot-ctrl goal`: execute a visual goal with what a run has learned."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.robot import Observation
from hardware.safety import SafetyFilter
from robot_ctrl.build import load_controller
from robot_ctrl.controller import Controller
from robot_ctrl.errors import RunError
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.goals.goal_page import GoalPage
from robot_ctrl.goals.goal_record import GoalRecord, record_goal
from robot_ctrl.loop import EpisodeResult, run_episode
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.video import VideoWriter

logger = logging.getLogger(__name__)


def goal(
    run: Path,
    *,
    image: Path | None = None,
    joints: Sequence[float] | None = None,
    seed: int = 0,
) -> str:
    """Plan to a goal picture from a random start; leaves RUN/goals/NUMBER/ and says how it went.

    The folder holds ``goal.png``, ``report.html``, ``goal.mp4`` and ``goal.json``. A picture that does not look
    like anything that the model knows is refused before the robot moves.

    Args:
        run: a run of a task with goal pictures.
        image: the goal picture; it is scaled to what the camera gives.
        joints: a pose instead, rad, whose picture is drawn by the robot's twin.
        seed: of the start.

    Raises:
        RunError: if the run is of another kind, the picture cannot be read, the pose does not exist, or the
            picture is from another scene.
    """
    task, controller, safety = load_controller(run)
    if not isinstance(task, GoalImageTask):
        raise RunError(
            f"{run} is a run of a task without goal pictures; make one with `robot-ctrl run reacher-goal-image`."
        )
    return Execution(run, task, controller, safety, image, joints, seed).execute()


class Execution:
    """One goal picture, planned to and written down."""

    def __init__(
        self,
        run: Path,
        task: GoalImageTask,
        controller: Controller,
        safety: SafetyFilter,
        image: Path | None,
        joints: Sequence[float] | None,
        seed: int,
    ) -> None:
        self._run, self._task, self._controller, self._safety = run, task, controller, safety
        self._joints = None if joints is None else np.asarray(joints, dtype=np.float64)
        self._seed = seed
        if (image is None) == (joints is None):
            raise RunError("goal: give either --image or --joints.")
        if self._joints is not None:
            try:
                self._picture = task.picture_of(self._joints)
            except ValueError as error:
                raise RunError(f"goal: {error}") from None
            self._title = f"Goal: joints {', '.join(f'{joint:.2f}' for joint in self._joints)} rad"
        else:
            assert image is not None
            self._picture = read_picture(image, (task.image_spec.width, task.image_spec.height))
            self._title = f"Goal: {image.name}"

    def execute(self) -> str:
        """Plan to the goal, write the folder, and say how it went in a line or two."""
        task = self._task
        familiarity = task.familiarity(self._picture)
        if familiarity.strange:
            raise RunError(
                f"the goal picture does not look like anything that this model has seen: its latent state is "
                f"{familiarity.latent:.1f} times as far from the data as is allowed, its pixels "
                f"{familiarity.pixels:.1f} times. Take it with the same camera, in the same scene, with the robot "
                f"within its reach."
            )
        task.picture = self._picture
        result = self._film()
        states = np.stack([task.state(observation) for observation in result.observations])
        record = record_goal(
            task.image_model,
            task.image_spec,
            task.encoded(self._picture),
            states,
            result.observations,
            self._controller.plans,
        )
        metres = self._metres(result.observations)
        verdict = _verdict(record, metres, task.period)
        folder = RunFolder(_next_folder(self._run / "goals"))
        folder.path.mkdir(parents=True)
        cv2.imwrite(str(folder.path / "goal.png"), cv2.cvtColor(self._picture, cv2.COLOR_RGB2BGR))
        video = self._write_video(folder.path / "goal.mp4", result)
        task_name = RunFolder.open(self._run)[1].task["name"]
        page = GoalPage(task_name, self._title, verdict, self._picture, familiarity, task.period, record, metres, video)
        page.write(folder.report)
        folder.write_json("goal.json", self._numbers(record, metres))
        return f"{verdict}\n{folder.report}"

    def _film(self) -> EpisodeResult:
        return run_episode(
            self._task,
            self._controller,
            self._safety,
            reset_seed=derive_seed(self._seed, "goal", 0),
            policy_seed=derive_seed(self._seed, "goal policy", 0),
            film=True,
        )

    def _metres(self, observations: Sequence[Observation]) -> NDArray[np.float64] | None:
        if self._joints is None:
            return None
        return np.array([self._task.distance_to(observation, self._joints) for observation in observations])

    def _write_video(self, path: Path, result: EpisodeResult) -> str:
        height, width, _ = result.frames[0].shape
        goal_side = cv2.resize(self._picture, (height, height), interpolation=cv2.INTER_NEAREST)
        with VideoWriter(path, 1.0 / self._task.period, (width + height, height)) as video:
            for frame in result.frames:
                video.write(np.hstack([frame, goal_side]))
        return path.name

    def _numbers(self, record: GoalRecord, metres: NDArray[np.float64] | None) -> dict[str, Any]:
        return {
            "goal": self._title,
            "seed": self._seed,
            "reached": record.reached,
            "distance_start": float(record.distances[0]),
            "distance_end": float(record.distances[-1]),
            "metres_start": None if metres is None else float(metres[0]),
            "metres_end": None if metres is None else float(metres[-1]),
            "plan_ms_p50": float(np.median(self._controller.plan_seconds)) * 1e3,
        }


def read_picture(path: Path, size: tuple[int, int]) -> Picture:
    """A picture file as (h, w, 3) uint8 RGB, scaled to (width, height).

    Raises:
        RunError: if it cannot be read, or its sides have other proportions.
    """
    if not path.is_file():
        raise RunError(f"{path}: there is no such picture.")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise RunError(f"{path}: not a picture that can be read; give a PNG or a JPEG.")
    height, width = picture.shape[:2]
    if abs(width / height - size[0] / size[1]) > 0.02:
        raise RunError(
            f"{path}: the picture is {width}x{height} pixels, and the camera's are {size[0]}x{size[1]}: crop it to the "
            f"same proportions first."
        )
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB), dtype=np.uint8)


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


def _next_folder(goals: Path) -> Path:
    numbers = [int(path.name) for path in goals.glob("*") if re.fullmatch(r"\d+", path.name)]
    return goals / f"{max(numbers, default=-1) + 1:03d}"
