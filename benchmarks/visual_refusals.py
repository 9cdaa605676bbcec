"""How often good goals are refused (false alarms), and how often bad ones are not (misses).

A goal is caught if it is refused before anything moves, or if the robot says at the end that it did not reach it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np

from hardware.errors import PixelLostError
from hardware.pixel_tracking import PixelTracker
from robot_ctrl.evaluation import wilson_interval

PICTURES, EPISODES, SCENES = 200, 40, 40
"""For each seed: pictures that are only looked at, goals that are planned to, scenes in which a pixel is clicked."""

_TOLERANCE = 0.05


def count(run: Path, seed: int) -> list[dict[str, object]]:
    """A row for each goal that was given to a run of reacher-goal-image, or to the pixel tracker."""
    import torch

    from robot_ctrl.build import load_controller

    torch.set_num_threads(1)
    with torch.no_grad():
        task, controller, safety = load_controller(run)
        rows = [*_pictures(task, seed), *_episodes(task, controller, safety, seed), *_pixels(seed)]
    return [{"seed": seed, **row} for row in rows]


def _pictures(task: Any, seed: int) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(seed)
    for index in range(PICTURES):
        good = task.goal_picture(task.robot.reset(1_000_000 + index))
        yield _row("picture of the scene", False, task.familiarity(good).strange)
        for kind, change in _STRANGERS.items():
            strange = task.familiarity(np.ascontiguousarray(change(good, rng))).strange
            yield _row(f"picture: {kind}", True, strange)


def _half_hidden(picture: Any) -> Any:
    hidden = picture.copy()
    hidden[:, picture.shape[1] // 2 :] = 200
    return hidden


_STRANGERS: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "negative": lambda good, _: 255 - good,
    "noise": lambda good, rng: rng.integers(0, 255, good.shape, dtype=np.uint8),
    "camera moved by a quarter of the picture": lambda good, _: np.roll(good, good.shape[1] // 4, axis=1),
    "camera moved by 4 pixels": lambda good, _: np.roll(good, 4, axis=1),
    "lit half as bright": lambda good, _: good // 2,
    "no robot in it": lambda good, _: np.full_like(good, np.median(good.reshape(-1, 3), axis=0).astype(np.uint8)),
    "half of it hidden": lambda good, _: _half_hidden(good),
    "out of focus": lambda good, _: cv2.GaussianBlur(good, (9, 9), 4),
}


def _episodes(task: Any, controller: Any, safety: Any, seed: int) -> Iterator[dict[str, object]]:
    """Goals in reach, and pictures of an arm whose wrist is bent further than its stop allows."""
    from robot_ctrl.loop import run_episode
    from robot_ctrl.seeds import derive_seed

    rng = np.random.default_rng(seed)
    for index in range(EPISODES):
        for reachable in (True, False):
            seeds = {name: derive_seed(seed, f"refusals {name}", index) for name in ("reset", "policy")}
            task.picture = None if reachable else _beyond_the_stop(task, rng)
            strange = task.picture is not None and task.familiarity(task.picture).strange
            result = run_episode(task, controller, safety, reset_seed=seeds["reset"], policy_seed=seeds["policy"])
            first, last = result.observations[0], result.observations[-1]
            picture = task.goal_picture(first) if reachable else task.picture
            away = task.image_model.distance(_tensor(task.state(last)), task.encoded(picture))
            denied = bool(away > task.image_model.arrival)
            if reachable:
                missed = task.measures(result.observations)["final_distance"] > _TOLERANCE
                yield _row(
                    "episode that missed its goal" if missed else "episode that reached its goal", missed, denied
                )
            else:
                yield _row("goal 4 cm beyond the wrist's stop", True, strange or denied)
    task.picture = None


def _tensor(values: Any) -> Any:
    import torch

    return torch.as_tensor(values, dtype=torch.float32)


def _beyond_the_stop(task: Any, rng: np.random.Generator) -> Any:
    """The picture of a folded arm; the stop is 20 degrees before that, where the fingertip is 4 cm away."""
    robot = task._twin
    model, data = robot._model_and_data()
    shoulder = rng.uniform(-np.pi, np.pi)
    robot.pose(np.array([shoulder, 0.0]))
    data.qpos[:] = shoulder, np.pi
    mujoco.mj_forward(model, data)
    return robot.get_observation().images[task.image_spec.camera]


def _pixels(seed: int) -> Iterator[dict[str, object]]:
    from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT, PixelPushingArm

    robot = PixelPushingArm(picture_size=128, control_rate=20.0)
    robot.connect()
    rng = np.random.default_rng(seed)
    for index in range(SCENES):
        robot.reset(1_000_000 * (seed + 1) + index)
        picture = robot.see()
        place = robot.data.body("puck").xpos[:2]
        puck = robot.camera.project(np.append(place, PIXEL_HEIGHT))
        yield _row("pixel on the puck", False, not _lasts([picture] * 30, puck))
        yield _row("pixel on the bare table", True, not _lasts([picture], _bare(robot, rng)))
        away = robot.data.joint("puck_x").qpos.copy()
        robot.data.joint("puck_x").qpos[:] = -5.0
        mujoco.mj_forward(robot.model, robot.data)
        yield _row("pixel on a puck that is taken away", True, not _lasts([picture, *[robot.see()] * 30], puck))
        robot.data.joint("puck_x").qpos[:] = away
    robot.disconnect()


def _bare(robot: Any, rng: np.random.Generator) -> Any:
    """A pixel whose surroundings, 10 pixels each way, show the table alone."""
    camera = robot.camera
    around = np.array([[0, 0], [-10, -10], [-10, 10], [10, -10], [10, 10], [0, 10], [0, -10], [10, 0], [-10, 0]])
    floor = robot.model.geom("table").id
    while True:
        pixel = rng.uniform([12, 12], [camera.width - 12, camera.height - 12])
        hits = []
        for there in camera.on_plane(pixel + around, 0.0):
            ray, hit = np.append(there, 0.0) - camera.position, np.zeros(1, np.int32)
            mujoco.mj_ray(robot.model, robot.data, camera.position, ray, None, 1, -1, hit, None)
            hits.append(hit[0] == floor)
        if all(hits):
            return pixel


def _lasts(pictures: list[Any], pixel: Any) -> bool:
    """Whether a pixel of the first picture is accepted, and still followed in the last."""
    try:
        tracker = PixelTracker(pictures[0], pixel)
        for picture in pictures[1:]:
            tracker.track(picture)
    except (ValueError, PixelLostError):
        return False
    return True


def _row(kind: str, wrong: bool, caught: bool) -> dict[str, object]:
    return {"kind": kind, "wrong": int(wrong), "caught": int(caught)}


def table(rows: list[dict[str, str]]) -> str:
    """The rate of mistakes for each kind of goal."""
    lines = [
        "| goal | caught | mistakes: false alarms of good goals, misses of bad ones (95 % interval) |",
        "|---|---|---|",
    ]
    for kind in dict.fromkeys(row["kind"] for row in sorted(rows, key=lambda row: row["wrong"])):
        own = [row for row in rows if row["kind"] == kind]
        wrong, caught = own[0]["wrong"] == "1", sum(row["caught"] == "1" for row in own)
        mistakes = len(own) - caught if wrong else caught
        low, high = wilson_interval(mistakes, len(own))
        lines.append(
            f"| {kind} | {caught} of {len(own)} | {'misses' if wrong else 'false alarms'} "
            f"**{mistakes / len(own):.1%}** ({low:.1%} to {high:.1%}) |"
        )
    return "\n".join(lines)
