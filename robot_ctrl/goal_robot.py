"""`robot-ctrl goal RUN --robot ROBOT`: execute a goal picture on an arm, in real time.

    1. refuse, while a fault is latched, or when the picture is from another scene
    2. start the recorder, and control, which opens the camera and connects the robot
    3. soft start: go to where an episode of the run started, through the safety filter
    4. for ``--capture``: a person drives the arm to the goal, a picture is taken, and the arm goes back
    5. follow plans to the picture for one episode
    6. park if asked, release the robot; judge what was recorded

Everything is kept in RUN/goals/NUMBER: the episode's recording, the goal, the page, a video.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from hardware.robot import Observation
from planners.plan import Plan
from robot_ctrl.build import open_run
from robot_ctrl.config import RunConfig
from robot_ctrl.deploy import check_robot, learned_bounds
from robot_ctrl.episodes import Episode, read_episode
from robot_ctrl.errors import RunError
from robot_ctrl.goal import posed, read_picture, with_pictures
from robot_ctrl.goals.capture import captured
from robot_ctrl.goals.goal_image_task import GoalImageTask, Picture
from robot_ctrl.goals.goal_result import PictureGoal, familiar, next_folder, write_result
from robot_ctrl.goals.robot_camera import cameras_for
from robot_ctrl.guided import guide_by_hand, guide_by_keys, meanwhile
from robot_ctrl.keyboard import Keys, pressed_keys
from robot_ctrl.realtime.control_process import ControlSettings, GoTo, RunEpisode
from robot_ctrl.realtime.display import Display
from robot_ctrl.realtime.driving import MOVE_SECONDS, ending_at_rest, refuse_while_latched
from robot_ctrl.realtime.exploration import Caution
from robot_ctrl.realtime.parts import load_task_and_model, recorded_start
from robot_ctrl.realtime.planner_process import PlannerSettings
from robot_ctrl.realtime.planning_messages import EpisodePlan
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.sources import RobotSource, described
from robot_ctrl.realtime.starting import start_planner, wait_for_planner
from robot_ctrl.realtime.supervisor import READY_SECONDS, Statuses, Supervisor
from robot_ctrl.run_folder import RunFolder

logger = logging.getLogger(__name__)

GOAL_EPISODE = 1
"""The number of the episode that is planned; 0 is the one that a person drives."""

_SHOWN = 480


def goal_on_robot(
    run: Path,
    robot: str | RobotSource,
    *,
    image: Path | None = None,
    joints: Sequence[float] | None = None,
    capture: bool = False,
    by_hand: bool = False,
    port: str | None = None,
    camera: str | None = None,
    park: bool = True,
    seed: int = 0,
    start_speed: float = 0.8,
    unsure_speed: float = 0.4,
    stop_after: float = 1.0,
    latch_folder: Path | None = None,
    keys: Keys | None = None,
) -> str:
    """Plan to a goal picture on an arm; leaves RUN/goals/NUMBER/ and says how it went.

    Args:
        run: a run of a task with goal pictures.
        robot: a packaged robot's name, its YAML file, or whatever makes the robot.
        image: the goal picture, from the robot's own camera.
        joints: a pose instead, rad, whose picture is drawn by the simulated twin.
        capture: or a picture that is taken after the arm was driven to the goal.
        by_hand: whether the arm is then moved by hand, limp, instead of by keys.
        port: where the robot is, instead of what its file says.
        camera: that the model looks through, by its name in the robot's file; None takes the simulated one's name.
        park: whether the robot is parked at the end; otherwise it holds where it is.
        seed: which of the run's episodes gives the start pose.
        start_speed: of the soft start and of parking, rad/s.
        unsure_speed: of the joints where the model knows nothing, rad/s.
        stop_after: seconds without a new plan until the arm stops and latches a fault.
        latch_folder: where faults are latched; None takes the user's state folder.
        keys: what was typed since the last call; None reads the terminal.

    Raises:
        RunError: if the run has no fitted model or does not fit the robot, or the picture is from another scene.
        UserError: if there is no terminal to capture from.
        StoppedError: while a fault is latched, or when the arm had to be stopped.
        Interrupted: after SIGINT or SIGTERM, when the arm is at rest and the record closed.
    """
    if (image is not None) + (joints is not None) + capture != 1 or (by_hand and not capture):
        raise RunError("goal: give one of --image, --joints and --capture; --by-hand goes with --capture.")
    run = run.absolute()
    run_folder, config = open_run(run)
    config = config.model_copy(update={"device": "cpu"})
    task = with_pictures(run, load_task_and_model(config, run)[0])
    source = described(robot, port, model_rate=1 / task.period) if isinstance(robot, str) else robot
    refuse_while_latched(source.name, latch_folder)
    start = recorded_start(run, seed)
    check_robot(task, source, start)
    cameras = cameras_for(task, source, camera)
    settings = ControlSettings(
        source=source,
        scale=task.action_scale,
        model_period=task.period,
        rules=LatePlanRules(stop_after),
        latch=latch_folder,
        bounds=learned_bounds(run_folder, unsure_speed),
        cameras=cameras,
    )
    wanted = None
    if image is not None:
        own = cameras[0].description
        size = (task.image_spec.width, task.image_spec.height)
        wanted = PictureGoal(f"Goal: {image.name}", read_picture(image, size, (own.width, own.height)))
    elif joints is not None:
        wanted = posed(task, joints)
    if wanted is not None:
        familiar(task, wanted)
    with ExitStack() as stack:
        typed = keys or (stack.enter_context(pressed_keys()) if capture else str)
        if by_hand:
            view = task.image_spec.camera
            wanted = captured(view, source.spec, lambda take: guide_by_hand(source, cameras, typed, take))
            familiar(task, wanted)
        execution = _Execution(run, config, task, settings, start, start_speed, park=park)
        return execution.execute(wanted, typed)


class EpisodeRunner:
    """Follows plans for one episode, and keeps them.

    Args:
        task: its name.
        steps: of the episode.
        period: seconds between them.
        robot: its name.

    Attributes:
        plans: those that were seen.
    """

    def __init__(self, task: str, steps: int, period: float, robot: str) -> None:
        self.task, self.robot = task, robot
        self._steps, self._period = steps, period
        self.plans: list[Plan] = []

    def prepare(self, supervisor: Supervisor, settings: PlannerSettings) -> None:
        """Start the planner, and watch until it can plan; raises as ``wait_for_planner`` does."""
        start_planner(supervisor, settings)
        wait_for_planner(supervisor)

    def follow_plans(self, supervisor: Supervisor, path: Path) -> Statuses:
        """Run and record the episode; raises as ``Supervisor.wait_for`` does."""
        metadata = {"task": self.task, "robot": self.robot}
        plans = supervisor.mailbox("plans")
        with Display(self._steps) as display:

            def look(statuses: Statuses) -> None:
                display.show(statuses)
                made: EpisodePlan | None = plans.get()
                if made is not None and made.episode == GOAL_EPISODE:
                    self.plans.append(made.plan.plan)

            supervisor.watched = look
            supervisor.carry_out(
                lambda order: RunEpisode(order, GOAL_EPISODE, self._steps, {}, path, metadata),
                2 * self._steps * self._period + MOVE_SECONDS,
                "the episode",
            )
            supervisor.wait_for(lambda now: now.recorder.closed >= GOAL_EPISODE, MOVE_SECONDS, "closing the recording")
            supervisor.watched = lambda statuses: None
        return supervisor.statuses


class _Execution:
    """One goal on one arm."""

    def __init__(
        self,
        run: Path,
        config: RunConfig,
        task: GoalImageTask,
        settings: ControlSettings,
        start: Observation,
        speed: float,
        *,
        park: bool,
    ) -> None:
        self._run, self._config, self._task, self._settings = run, config, task, settings
        self._start, self._speed, self._parks = start, speed, park
        name = str(config.task["name"])
        self._runner = EpisodeRunner(name, task.episode_steps, task.period, settings.source.name)

    def execute(self, goal: PictureGoal | None, keys: Keys) -> str:
        """Go to the start, capture the goal if there is none yet, plan to it, and write down what happened."""
        folder = next_folder(self._run)
        folder.mkdir(parents=True)
        source = self._settings.source
        with Supervisor(self._settings) as supervisor, ending_at_rest(supervisor, source.name):
            supervisor.start_recorder()
            if goal is not None:
                self._runner.prepare(supervisor, self._planner(goal))
            supervisor.start_control()
            supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")
            self._go_to_start(supervisor)
            if goal is None:
                goal = self._capture(supervisor, keys, folder / "driven.mcap")
                cv2.imwrite(str(folder / "goal.png"), cv2.cvtColor(goal.picture, cv2.COLOR_RGB2BGR))
                self._go_to_start(supervisor)
                meanwhile(supervisor, partial(familiar, self._task, goal))
                meanwhile(supervisor, partial(start_planner, supervisor, self._planner(goal)))
                wait_for_planner(supervisor)
            status = self._runner.follow_plans(supervisor, folder / "episode.mcap")
            if self._parks and (pose := source.spec.park_pose) is not None:
                supervisor.carry_out(lambda order: GoTo(order, np.array(pose), self._speed), MOVE_SECONDS, "parking")
        return self._judge(folder, goal, status)

    def _capture(self, supervisor: Supervisor, keys: Keys, path: Path) -> PictureGoal:
        print(f"Drive {self._settings.source.name} to the goal; it goes back by itself.", flush=True)
        camera, spec = self._task.image_spec.camera, self._settings.source.spec
        return captured(camera, spec, lambda take: guide_by_keys(supervisor, self._settings, keys, take, path))

    def _planner(self, goal: PictureGoal) -> PlannerSettings:
        return PlannerSettings(
            config=self._config,
            run=self._run,
            budget=2 * self._task.period,
            caution=Caution(),
            picture=goal.picture,
            judges=False,
        )

    def _go_to_start(self, supervisor: Supervisor) -> None:
        pose = self._start.values["command"]
        supervisor.carry_out(lambda order: GoTo(order, pose, self._speed), MOVE_SECONDS, "the soft start")

    def _judge(self, folder: Path, goal: PictureGoal, statuses: Statuses) -> str:
        episode = read_episode(folder / "episode.mcap")
        if not self._runner.plans or len(episode.observations) < 2:
            raise RunError(
                f"{folder}: no plan was followed within {len(episode.observations)} observations; look into "
                f"{folder / 'episode.mcap'} with `robot-ctrl replay`."
            )
        verdict = write_result(
            folder,
            self._task,
            str(self._config.task["name"]),
            goal,
            episode.observations,
            plans_in_force(episode, self._runner.plans),
            [_large(observation.images[self._task.image_spec.camera]) for observation in episode.observations],
            robot=self._settings.source.name,
            joints=None if goal.joints is None else goal.joints.tolist(),
            plans_made=len(episode.plans),
            plan_ms_p50=float(np.median([made.plan_ms for made in episode.plans])),
            missed_deadlines=statuses.planner.missed,
            jitter_ms_p99=statuses.control.timing.lateness[1] * 1e3,
        )
        return f"{verdict}\n{RunFolder(folder).report}"


def plans_in_force(episode: Episode, plans: Sequence[Plan]) -> list[Plan]:
    """For each observation but the last, the newest plan that was computed from it or from one before it.

    Before the first plan that is the first.
    """
    numbers = np.array([plan.computed_from for plan in plans])
    indices = [
        max(0, int(np.searchsorted(numbers, observation.sequence, side="right")) - 1)
        for observation in episode.observations[:-1]
    ]
    return [plans[index] for index in indices]


def _large(picture: Picture) -> Picture:
    scale = max(1, _SHOWN // picture.shape[1])
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
