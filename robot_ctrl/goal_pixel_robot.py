"""`robot-ctrl goal RUN --pixel U,V --to U,V --robot ROBOT`: push what is at a pixel of a robot's camera to another.

1. refuse, while a fault is latched, or when the camera is not calibrated or the pixels cannot be
2. the joints that push go behind the thing, the others where they were in training; all hold
3. the joints that push follow plans for one episode; a pixel that is lost stops the arm
4. park if asked; judge what was recorded
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.camera import VideoCamera
from hardware.camera_file import CameraFile, load_camera_file
from hardware.camera_fit import fitted
from hardware.errors import CameraError
from hardware.pixel_tracking import PixelTracker
from hardware.robot import Array, CameraSpec, Observation
from hardware.robot_file import CameraDescription, RobotDescription
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.build import open_run
from robot_ctrl.calibrate_camera import camera_file, find_camera
from robot_ctrl.deploy import check_robot, learned_bounds
from robot_ctrl.episodes import read_episode
from robot_ctrl.errors import ConfigError, RunError
from robot_ctrl.goal_pixel import REACH, REACHED
from robot_ctrl.goal_robot import EpisodeRunner, plans_in_force
from robot_ctrl.goals.goal_result import next_folder
from robot_ctrl.goals.pixel_follower import FollowPixel
from robot_ctrl.goals.pixel_page import PixelPage, drawn
from robot_ctrl.goals.pixel_record import PixelRecord, record_pixels
from robot_ctrl.goals.pixel_robot import PIXEL_HEIGHT
from robot_ctrl.goals.pixel_task import PixelTask
from robot_ctrl.goals.table_view import TableView
from robot_ctrl.park import park as park_robot
from robot_ctrl.realtime.control_process import ControlSettings, GoTo
from robot_ctrl.realtime.driving import MOVE_SECONDS, ending_at_rest, refuse_while_latched
from robot_ctrl.realtime.exploration import Caution
from robot_ctrl.realtime.parts import load_task_and_model
from robot_ctrl.realtime.planner_process import PlannerSettings
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.sources import CameraSource, DescribedArm, described
from robot_ctrl.realtime.supervisor import READY_SECONDS, Supervisor
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.video import VideoWriter

TRACKED_HEIGHT = 128
"""Of the pictures that the pixel is followed in, pixels: as in training."""

BEHIND = 0.07
"""How far behind the thing the tip should start, m."""

CLEAR = 0.06
"""No start has the tip closer to the thing, m."""


def goal_pixel_on_robot(
    run: Path,
    robot: str,
    *,
    pixel: tuple[float, float],
    to: tuple[float, float],
    camera: str | None = None,
    port: str | None = None,
    park: bool = True,
    start_speed: float = 0.8,
    unsure_speed: float = 0.4,
    stop_after: float = 1.0,
    latch_folder: Path | None = None,
) -> str:
    """Push what is at ``pixel`` to ``to``; leaves RUN/goals/NUMBER/ and says how it went.

    RUN/goals/start.png is the camera's picture from before the arm moved, for choosing pixels.

    Args:
        run: a run of push-goal-pixel.
        robot: a packaged robot's name, or its YAML file.
        pixel: the designated pixel, u to the right and v down, in the camera's own pictures.
        to: where it should go.
        camera: at rest and calibrated, by its name in the robot's file; None takes the only one.
        port: where the robot is, instead of what its file says.
        park: whether the robot is parked at the end; otherwise it holds where it is.
        start_speed: of the soft start and of parking, rad/s.
        unsure_speed: of the joints where the model knows nothing, rad/s.
        stop_after: seconds without a new plan until the arm stops and latches a fault.
        latch_folder: where faults are latched; None takes the user's state folder.

    Raises:
        RunError: if the run is of another kind or does not fit the robot, or the pixels cannot be tracked or reached.
        ConfigError: if there is no such camera.
        CameraError: if it fails, or where it is has not been measured.
        StoppedError: while a fault is latched, or when the arm had to be stopped, as after the pixel was lost.
        Interrupted: after SIGINT or SIGTERM, when the arm is at rest and the record closed.
    """
    run = run.absolute()
    run_folder, config = open_run(run)
    config = config.model_copy(update={"device": "cpu"})
    task, _ = load_task_and_model(config, run)
    if not isinstance(task, PixelTask):
        raise RunError(
            f"{run} is a run of a task without tracked pixels; make one with `robot-ctrl run push-goal-pixel`."
        )
    whole = described(robot, port)
    pushing = _pushing(described(robot, port, model_rate=1 / task.period), task)
    refuse_while_latched(whole.name, latch_folder)
    chosen = find_camera(whole.description, camera or _only_camera(whole.description))
    follow = _follow(run, task, whole.description, chosen, pixel, to)
    start = _start_behind(run_folder, follow)
    check_robot(task, pushing, start)
    _soft_start(whole, task, start.values["command"], start_speed, latch_folder)
    settings = ControlSettings(
        source=pushing,
        scale=task.action_scale,
        model_period=task.period,
        rules=LatePlanRules(stop_after),
        latch=latch_folder,
        bounds=learned_bounds(run_folder, unsure_speed),
        cameras=(CameraSource(chosen, _size(chosen)),),
        equip=follow,
    )
    planner = PlannerSettings(config=config, run=run, budget=2 * task.period, caution=Caution(), judges=False)
    folder = next_folder(run)
    folder.mkdir(parents=True)
    runner = EpisodeRunner(str(config.task["name"]), task.episode_steps, task.period, pushing.name)
    with Supervisor(settings) as supervisor, ending_at_rest(supervisor, pushing.name):
        supervisor.start_recorder()
        runner.prepare(supervisor, planner)
        supervisor.start_control()
        supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")
        runner.follow_plans(supervisor, folder / "episode.mcap")
    if park:
        park_robot(whole, speed=start_speed, latch_folder=latch_folder)
    return _judge(folder, task, follow, runner)


def _pushing(arm: DescribedArm, task: PixelTask) -> DescribedArm:
    """The arm with those joints alone that the task commands; the others hold."""
    names = [joint.name for joint in task.robot.spec.joints]
    description = arm.description
    kept = [index for index, joint in enumerate(description.joints) if joint.name in names]
    if len(kept) != len(names):
        raise RunError(
            f"{description.name}: the run commands {', '.join(names)}, and not all of these are joints of this robot; "
            f"use a run of push-goal-pixel with its usual model, which commands joints."
        )
    pose = description.park_pose
    update = {
        "joints": tuple(description.joints[index] for index in kept),
        "park_pose": None if pose is None else tuple(pose[index] for index in kept),
        "safe_policy": "hold",
        "torque_at_disconnect": "hold",
    }
    return replace(arm, description=description.model_copy(update=update))


def _only_camera(description: RobotDescription) -> str:
    names = [camera.name for camera in description.cameras]
    if len(names) > 1:
        raise ConfigError(f"{description.name} has the cameras {', '.join(names)}: choose one with --camera.")
    return names[0] if names else "front"


def _size(camera: CameraDescription) -> CameraSpec:
    """Pictures as small as in training, and of the camera's own proportions."""
    return CameraSpec(camera.name, round(camera.width * TRACKED_HEIGHT / camera.height), TRACKED_HEIGHT)


def _calibration(description: RobotDescription, camera: CameraDescription) -> CameraFile:
    path = camera_file(description, camera.name)
    found = load_camera_file(path)
    if found.pose is None or found.pose.frame != "base" or (found.width, found.height) != (camera.width, camera.height):
        raise CameraError(
            f"{path}: where camera {camera.name!r} stands has not been measured with pictures of {camera.width}x"
            f"{camera.height} pixels; run 'robot-ctrl calibrate {description.name} --camera {camera.name}', then the "
            f"same with --hand-eye"
        )
    return found


def _follow(
    run: Path,
    task: PixelTask,
    description: RobotDescription,
    camera: CameraDescription,
    pixel: tuple[float, float],
    to: tuple[float, float],
) -> FollowPixel:
    """What to follow, in a picture from before the arm moves."""
    calibration, size = _calibration(description, camera), _size(camera)
    whole = _one_picture(camera)
    (run / "goals").mkdir(exist_ok=True)
    shown = run / "goals" / "start.png"
    cv2.imwrite(str(shown), cv2.cvtColor(whole, cv2.COLOR_RGB2BGR))
    scale = size.width / camera.width
    there, goal = ((np.array(each, dtype=np.float64) + 0.5) * scale - 0.5 for each in (pixel, to))
    view = TableView(calibration, size.width, PIXEL_HEIGHT)
    picture = fitted(whole, size.width, size.height)
    try:
        PixelTracker(picture, there)
        for name, each in (("pixel", there), ("goal pixel", goal)):
            _check_reach(name, each, view.places(each[None])[0], size)
    except ValueError as error:
        raise RunError(f"goal: {error} The camera's picture is {shown}.") from None
    return FollowPixel(camera.name, view, task.robot.camera, picture, there, goal, task.period)


def _one_picture(camera: CameraDescription) -> NDArray[np.uint8]:
    source = VideoCamera(camera.spec, camera.source, max_age=camera.max_age)
    source.connect()
    try:
        return source.read().image
    finally:
        source.disconnect()


def _check_reach(name: str, pixel: Array, place: Array, size: CameraSpec) -> None:
    inside = np.isfinite(pixel).all() and (pixel >= 0).all() and (pixel <= [size.width - 1, size.height - 1]).all()
    radius = float(np.hypot(*place))
    if not inside or not REACH[0] <= radius <= REACH[1] or place[0] < 0:
        raise ValueError(
            f"the {name} shows a place out of reach, {place[0]:.2f}, {place[1]:.2f} m: the arm pushes things in front "
            f"of it, {REACH[0]:.2f} to {REACH[1]:.2f} m from its axis."
        )


def _start_behind(run: RunFolder, follow: FollowPixel) -> Observation:
    """The start of that episode of the run whose tip is best placed for the push, and clear of the thing.

    Raises:
        RunError: if there is none.
    """
    thing, goal = follow.view.places(np.stack([follow.pixel, follow.goal]))
    away = (thing - goal) / max(float(np.linalg.norm(thing - goal)), 1e-9)
    starts = [read_episode(path).observations[0] for path in sorted(run.episodes.glob("episode_?????.mcap"))]
    clear = [start for start in starts if np.linalg.norm(start.values["gripper_tip"][:2] - thing) >= CLEAR]
    if not clear:
        raise RunError(f"{run.path}: none of its episodes starts clear of the thing; let the run record more episodes.")
    return min(clear, key=lambda start: float(np.linalg.norm(start.values["gripper_tip"][:2] - thing - BEHIND * away)))


def _soft_start(arm: DescribedArm, task: PixelTask, command: Array, speed: float, latch_folder: Path | None) -> None:
    """Bring all joints of the arm to the start, and leave them holding."""
    names = [joint.name for joint in task.robot.spec.joints]
    model = task.robot.model
    ready = model.key("ready").qpos
    pose = np.array(
        [
            command[names.index(joint.name)]
            if joint.name in names
            else ready[model.jnt_qposadr[model.joint(joint.name).id]]
            for joint in arm.spec.joints
        ]
    )
    holding = replace(arm, description=arm.description.model_copy(update={"torque_at_disconnect": "hold"}))
    period = 1 / arm.spec.control_rate
    settings = ControlSettings(holding, ActionScale.delta(arm.spec, speed, period), period, latch=latch_folder)
    with Supervisor(settings) as supervisor, ending_at_rest(supervisor, arm.name):
        supervisor.start_control()
        supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")
        supervisor.carry_out(lambda order: GoTo(order, pose, speed), MOVE_SECONDS, "the soft start")


def _judge(folder: Path, task: PixelTask, follow: FollowPixel, runner: EpisodeRunner) -> str:
    episode = read_episode(folder / "episode.mcap")
    if not runner.plans or len(episode.observations) < 2:
        raise RunError(f"{folder}: no plan was followed; look into {folder / 'episode.mcap'} with `robot-ctrl replay`.")
    observations, plans = episode.observations, plans_in_force(episode, runner.plans)
    states = np.stack([task.state(observation) for observation in observations])
    record = record_pixels(task, states, observations, plans)
    track = np.stack([observation.values["seen_pixel"] for observation in observations])
    places = follow.view.places(np.stack([track[0], track[-1], follow.goal]))
    before, after = (100 * float(np.linalg.norm(place - places[2])) for place in places[:2])
    reached = after < 100 * REACHED
    verdict = (
        f"{'Reached' if reached else 'Not reached'} after {(len(track) - 1) * task.period:.1f} s. Distance to the goal "
        f"on the table: {before:.1f} cm at the start, {after:.1f} cm at the end."
    )
    pictures = [np.asarray(observation.images[follow.camera]) for observation in observations]
    _write_video(folder / "goal.mp4", replace(record, track=track, goal=follow.goal), pictures, task.period)
    title = f"Goal: pixel {_text(follow.pixel)} to {_text(follow.goal)} of camera {follow.camera}"
    page = PixelPage(
        runner.task,
        title,
        verdict,
        task.period,
        replace(record, track=track, goal=follow.goal),
        pictures[0],
        pictures[-1],
        "goal.mp4",
    )
    page.write(RunFolder(folder).report)
    numbers = {
        "robot": runner.robot,
        "reached": reached,
        "centimetres_start": before,
        "centimetres_end": after,
        "track": track.tolist(),
        "plans_made": len(episode.plans),
        "plan_ms_p50": float(np.median([made.plan_ms for made in episode.plans])),
    }
    RunFolder(folder).write_json("goal.json", numbers)
    return f"{verdict}\n{RunFolder(folder).report}"


def _write_video(path: Path, record: PixelRecord, pictures: list[NDArray[np.uint8]], period: float) -> None:
    frames = [
        drawn(picture, record.track[: index + 1], record.goal, hidden=record.confidence[index] == 0)
        for index, picture in enumerate(pictures)
    ]
    height, width, _ = frames[0].shape
    with VideoWriter(path, 1.0 / period, (width, height)) as video:
        for frame in frames:
            video.write(frame)


def _text(pixel: Array) -> str:
    return ", ".join(f"{value:.0f}" for value in pixel)
