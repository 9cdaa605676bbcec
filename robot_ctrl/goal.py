"""`robot-ctrl goal`: execute a goal picture with what a run has learned, in simulation."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hardware.camera_fit import fitted
from robot_ctrl.build import load_controller
from robot_ctrl.errors import RunError
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.goals.goal_result import PictureGoal, familiar, next_folder, write_result
from robot_ctrl.goals.posing import pose_by_keys
from robot_ctrl.keyboard import Keys
from robot_ctrl.loop import run_episode
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Task


def goal(
    run: Path,
    *,
    image: Path | None = None,
    joints: Sequence[float] | None = None,
    capture: bool = False,
    seed: int = 0,
    keys: Keys | None = None,
) -> str:
    """Plan to a goal picture from a random start; leaves RUN/goals/NUMBER/ and says how it went.

    The folder holds ``goal.png``, ``report.html``, ``goal.mp4`` and ``goal.json``. A picture that does not look
    like anything that the model knows is refused before the robot moves.

    Args:
        run: a run of a task with goal pictures.
        image: the goal picture; it is scaled to what the camera gives.
        joints: a pose instead, rad, whose picture is drawn by the robot's twin.
        capture: or a pose that is driven to by keys.
        seed: of the start.
        keys: what was typed since the last call; None reads the terminal.

    Raises:
        RunError: if the run is of another kind, the picture cannot be read, the pose does not exist, or the
            picture is from another scene.
        UserError: if there is no terminal to capture from.
    """
    if (image is not None) + (joints is not None) + capture != 1:
        raise RunError("goal: give one of --image, --joints and --capture.")
    loaded, controller, safety = load_controller(run)
    task = with_pictures(run, loaded)
    reset_seed = derive_seed(seed, "goal", 0)
    if image is not None:
        wanted = PictureGoal(
            f"Goal: {image.name}", read_picture(image, (task.image_spec.width, task.image_spec.height))
        )
    elif joints is not None:
        wanted = posed(task, joints)
    else:
        wanted = pose_by_keys(task, reset_seed, keys)
    familiar(task, wanted)
    task.picture = wanted.picture
    policy_seed = derive_seed(seed, "goal policy", 0)
    result = run_episode(task, controller, safety, reset_seed=reset_seed, policy_seed=policy_seed, film=True)
    folder = next_folder(run)
    folder.mkdir(parents=True)
    verdict = write_result(
        folder,
        task,
        RunFolder.open(run)[1].task["name"],
        wanted,
        result.observations,
        controller.plans,
        result.frames,
        seed=seed,
        plan_ms_p50=float(np.median(controller.plan_seconds)) * 1e3,
    )
    return f"{verdict}\n{RunFolder(folder).report}"


def with_pictures(run: Path, task: Task) -> GoalImageTask:
    """The task, if its goals are pictures.

    Raises:
        RunError: if they are not.
    """
    if not isinstance(task, GoalImageTask):
        raise RunError(
            f"{run} is a run of a task without goal pictures; make one with `robot-ctrl run reacher-goal-image`."
        )
    return task


def posed(task: GoalImageTask, joints: Sequence[float]) -> PictureGoal:
    """A pose (nu,), rad, as a goal: its picture is drawn by the robot's twin.

    Raises:
        RunError: if there is no such pose.
    """
    pose = np.asarray(joints, dtype=np.float64)
    try:
        picture = task.picture_of(pose)
    except ValueError as error:
        raise RunError(f"goal: {error}") from None
    return PictureGoal(f"Goal: joints {', '.join(f'{joint:.2f}' for joint in pose)} rad", picture, pose)


def read_picture(path: Path, size: tuple[int, int], camera: tuple[int, int] | None = None) -> Picture:
    """A picture file as (h, w, 3) uint8 RGB, scaled to (width, height).

    Args:
        path: of the file.
        size: what the model sees, pixels.
        camera: what the robot's camera gives, pixels: such a picture is cut as the camera's own are.

    Raises:
        RunError: if it cannot be read, or its sides have other proportions.
    """
    if not path.is_file():
        raise RunError(f"{path}: there is no such picture.")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise RunError(f"{path}: not a picture that can be read; give a PNG or a JPEG.")
    height, width = picture.shape[:2]
    allowed = [size] if camera is None else [size, camera]
    if all(abs(width / height - each[0] / each[1]) > 0.02 for each in allowed):
        sizes = " or ".join(f"{each[0]}x{each[1]}" for each in allowed)
        raise RunError(
            f"{path}: the picture is {width}x{height} pixels, and the camera's are {sizes}: crop it to the "
            f"same proportions first."
        )
    scaled = fitted(np.asarray(picture, dtype=np.uint8), *size)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB), dtype=np.uint8)
