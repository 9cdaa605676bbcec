"""`robot-ctrl deploy`: what was learned in simulation drives an arm, in real time, and goes on learning there.

    1. refuse, while a fault is latched
    2. start recorder, planner and learner; then control, which connects the robot
    3. soft start: go to the episode's start pose through the safety filter
    4. follow plans for one episode; its recording joins the data set
    5. the learner refits in the background, the planner takes the new model between two plans; go to 3
    6. come to rest, park if asked, release the robot

Everything is kept in ``RUN/deployments/NAME``: episodes, checkpoints, metrics.csv, summary.json.
"""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardware.errors import StoppedError
from hardware.robot import Array, Observation
from hardware.robot_file import make_twin
from robot_ctrl import __version__
from robot_ctrl.build import open_run
from robot_ctrl.config import RunConfig
from robot_ctrl.episodes import Episode, read_episode
from robot_ctrl.errors import Interrupted, RunError
from robot_ctrl.goals.goal_image_task import GoalImageTask
from robot_ctrl.goals.robot_camera import cameras_for
from robot_ctrl.realtime.control_process import ControlSettings, EpisodeTiming, GoTo, RunEpisode
from robot_ctrl.realtime.display import Display
from robot_ctrl.realtime.driving import MOVE_SECONDS, refuse_while_latched, what_stopped
from robot_ctrl.realtime.exploration import Caution
from robot_ctrl.realtime.learner_process import (
    LearnerChannels,
    LearnerSettings,
    LearnerStatus,
    Lesson,
    learn,
    newest_model,
)
from robot_ctrl.realtime.parts import fitted_checkpoint, recorded_start
from robot_ctrl.realtime.planner_process import PlannerSettings
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.sources import Bounds, DescribedArm, RobotSource, described
from robot_ctrl.realtime.starting import start_planner, wait_for_planner
from robot_ctrl.realtime.supervisor import READY_SECONDS, StoppedByFault, StoppedOnRequest, Supervisor
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Task
from robot_ctrl.tasks import make_task

logger = logging.getLogger(__name__)
_FROM_THE_ROBOT = ("joint_position", "joint_velocity", "qpos", "qvel", "command", "terminated", "reward", "truncated")
SAME_PLACE = 0.02
"""m; how far a point of an arm's twin may be from the simulation's."""

FIT_SECONDS = 300.0

LOOKED_AT = 100
"""Episodes that say where a model has been: with pictures in them, more take long to read."""


class DeploymentStopped(StoppedError):
    """The arm was stopped, and the fault is latched."""


def deploy(
    run: Path,
    robot: str | RobotSource,
    *,
    port: str | None = None,
    episodes: int = 10,
    learn: bool = True,
    park: bool = True,
    seed: int = 0,
    name: str | None = None,
    start_speed: float = 0.8,
    unsure_speed: float = 0.4,
    stop_after: float = 1.0,
    budget: float | None = None,
    caution: Caution | None = None,
    camera: str | None = None,
    latch_folder: Path | None = None,
) -> str:
    """Run episodes on a robot in real time; returns what there is to say about them.

    Args:
        run: the run folder of a task that was learned in simulation.
        robot: a packaged robot's name, its YAML file, or whatever makes the robot.
        port: where it is, instead of what its file says.
        episodes: how many, on top of those that the deployment already has.
        learn: whether the model is refitted to them.
        park: whether the robot is parked at the end.
        seed: of start poses and goals, which are drawn as the task draws them.
        name: of the deployment; None takes the robot's.
        start_speed: of the soft start to each episode's start pose, and of parking, rad/s.
        unsure_speed: of the joints where the model knows nothing, rad/s; it then keeps to the joint positions that it
            was trained on, too.
        stop_after: seconds without a new plan until the arm stops and latches a fault.
        budget: seconds that one plan may take; None takes two of the task's periods.
        caution: how exploration is bounded.
        camera: that the model looks through, by its name in the robot's file; None takes the simulated one's name.
        latch_folder: where faults are latched; None takes the user's state folder.

    Raises:
        RunError: if the run has no fitted model, or does not fit the robot.
        StoppedError: while a fault is latched, or when the arm had to be stopped.
        Interrupted: after SIGINT or SIGTERM, when the arm is at rest and the record closed.
    """
    run = run.absolute()
    run_folder, config = open_run(run)
    fitted_checkpoint(run)
    task = make_task(config.task)
    if isinstance(task, GoalImageTask):
        raise RunError(
            f"{run}: where its goal pictures come from on a robot has to be said: "
            f"`robot-ctrl goal {run} --robot ... --image | --capture | --joints`."
        )
    source = described(robot, port, model_rate=1 / task.period) if isinstance(robot, str) else robot
    refuse_while_latched(source.name, latch_folder)
    check_robot(task, source, recorded_start(run))
    folder = _deployment_folder(run_folder, name or source.name)
    with folder.held():
        deployment = _Deployment(config, run, folder, task, source, learns=learn, seed=seed, start_speed=start_speed)
        settings = ControlSettings(
            source=source,
            scale=task.action_scale,
            model_period=task.period,
            rules=LatePlanRules(stop_after),
            latch=latch_folder,
            bounds=learned_bounds(run_folder, unsure_speed),
            cameras=cameras_for(task, source, camera),
        )
        planner = PlannerSettings(
            config=config,
            run=newest_model(run, folder.path),
            budget=budget or 2 * task.period,
            caution=caution or Caution(),
        )
        return deployment.carry_out(settings, planner, episodes, park=park)


def learned_bounds(run: RunFolder, speed: float) -> Bounds:
    """The box of joint positions that a run's episodes stayed in, at most ``LOOKED_AT`` of them, and a speed."""
    paths = sorted(run.episodes.glob("episode_?????.mcap"))
    chosen = sorted({round(index) for index in np.linspace(0, len(paths) - 1, LOOKED_AT)})
    seen = np.concatenate(
        [
            np.stack([observation.values["joint_position"] for observation in read_episode(paths[index]).observations])
            for index in chosen
        ]
    )
    return Bounds(seen.min(axis=0), seen.max(axis=0), speed)


def check_robot(task: Task, source: RobotSource, simulated: Observation) -> None:
    """The task's joints must be the robot's, in this order: a model of other joints would move them.

    Args:
        task: the run's.
        source: the robot.
        simulated: an observation of the simulated robot.

    Raises:
        RunError: if they are not, or the robot's points are elsewhere than the simulation's in the same pose.
    """
    wanted, found = ([joint.name for joint in spec.joints] for spec in (task.robot.spec, source.spec))
    modes = task.robot.spec.command_mode, source.spec.command_mode
    if wanted != found or modes[0] != modes[1]:
        raise RunError(
            f"{source.name} has the joints {', '.join(found)} and takes {modes[1]} commands; the run's task drives "
            f"{', '.join(wanted)} by {modes[0]} commands. Deploy a run that was trained for this robot."
        )
    if isinstance(source, DescribedArm):
        _check_shape(source, simulated.values)


def _check_shape(arm: DescribedArm, simulated: Mapping[str, Array]) -> None:
    """Arms of other lengths can have joints of the same names: their points must be where the simulation's are."""
    twin = make_twin(arm.description)
    if twin is None:
        return
    sites = twin.site_positions(simulated["joint_position"])
    for name in arm.description.points:
        if name in simulated and (apart := float(np.linalg.norm(sites[name] - simulated[name]))) > SAME_PLACE:
            raise RunError(
                f"{arm.name}: its {name} is {apart:.3f} m from where the run's simulated arm has it in the same pose. "
                f"Deploy a run that was trained for this robot, or correct 'twin' in its file."
            )


class _Deployment:
    """The episodes of one deployment, from its folder on disk on."""

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        folder: RunFolder,
        task: Task,
        robot: RobotSource,
        *,
        learns: bool,
        seed: int,
        start_speed: float,
    ) -> None:
        self._config, self._run, self._folder, self._task, self._robot = config, run, folder, task, robot
        self._learns, self._seed, self._start_speed = learns, seed, start_speed
        self._rows: list[dict[str, Any]] = _rows_on_disk(folder)
        self._learned = -1
        folder.set_aside(len(self._rows))

    def carry_out(self, settings: ControlSettings, planner: PlannerSettings, episodes: int, *, park: bool) -> str:
        self._task.robot.connect()
        first = len(self._rows)
        with Supervisor(settings) as supervisor, Display(self._task.episode_steps) as display:
            supervisor.watched = display.show
            try:
                self._start(supervisor, planner)
                for number in range(first, first + episodes):
                    self._run_episode(supervisor, number)
                    self._take_lesson(supervisor)
                self._finish_learning(supervisor)
                if park:
                    self._park(supervisor)
            except StoppedByFault as fault:
                self._note_unfinished()
                raise DeploymentStopped(
                    f"{what_stopped(supervisor, self._robot.name, fault)} Then deploy again: it goes on with the next "
                    f"episode."
                ) from None
            except StoppedOnRequest as request:
                self._stop_on_request(supervisor, park=park)
                raise Interrupted(request.number) from None
            except TimeoutError as error:
                self._stop_on_request(supervisor, park=False)
                raise DeploymentStopped(
                    f"{self._robot.name}: {error}, and the arm was brought to rest. Look for what holds it back "
                    f"(`robot-ctrl doctor {self._robot.name}`) or for a computer that is overloaded, then deploy again."
                ) from None
        return self._summary(first)

    def _start(self, supervisor: Supervisor, planner: PlannerSettings) -> None:
        supervisor.start_recorder()
        start_planner(supervisor, planner)
        supervisor.start(
            "learner",
            learn,
            LearnerSettings(self._config, self._run, self._folder.path, refit=self._learns),
            LearnerChannels(
                lessons=supervisor.mailbox("lessons"),
                status=supervisor.mailbox("learner status"),
                pulse=supervisor.pulse_of("learner"),
                supervisor=supervisor.pulse,
                stop=supervisor.stop,
                quit=supervisor.mailbox("learner quit"),
            ),
        )
        wait_for_planner(supervisor)
        supervisor.start_control()
        supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")

    def _run_episode(self, supervisor: Supervisor, number: int) -> None:
        start = self._task.robot.reset(derive_seed(self._seed, "deployment", number))
        began = time.perf_counter()
        supervisor.carry_out(
            lambda order: GoTo(order, start.values["command"], self._start_speed), MOVE_SECONDS, "the soft start"
        )
        path = self._folder.episode_path(number)
        metadata = {
            "task": str(self._config.task["name"]),
            "robot": self._robot.name,
            "episode": str(number),
            "seed": str(self._seed),
        }
        supervisor.carry_out(
            lambda order: RunEpisode(order, number, self._task.episode_steps, self._constants(start), path, metadata),
            2 * self._task.episode_steps * self._task.period + MOVE_SECONDS,
            "the episode",
        )
        supervisor.wait_for(lambda now: now.recorder.closed >= number, MOVE_SECONDS, "closing the recording")
        self._add_row(supervisor, number, time.perf_counter() - began)

    def _constants(self, start: Observation) -> Mapping[str, Array]:
        """What the simulation shows and the robot cannot measure: where the target is."""
        known = (*_FROM_THE_ROBOT, *self._robot.measures)
        return {name: value for name, value in start.values.items() if name not in known}

    def _add_row(self, supervisor: Supervisor, number: int, seconds: float) -> None:
        episode = read_episode(self._folder.episode_path(number))
        statuses = supervisor.statuses
        before = float(self._rows[-1]["wall_s"]) if self._rows else 0.0
        row = deployment_row(self._task, episode, number, statuses.control.timing, before + seconds)
        row["missed_deadlines"] = statuses.planner.missed
        row["records_dropped"] = statuses.control.dropped
        self._rows.append(row)
        self._write()
        logger.info(episode_line(row))

    def _take_lesson(self, supervisor: Supervisor) -> None:
        """Tell the learner about the new episode, and the planner about what was learned from earlier ones."""
        supervisor.mailbox("lessons").put(Lesson(len(self._rows)))
        self._hand_over(supervisor)

    def _hand_over(self, supervisor: Supervisor) -> None:
        status: LearnerStatus | None = supervisor.statuses.learner
        if status is None or status.learned <= self._learned:
            return
        self._learned = status.learned
        if status.error is not None:
            logger.warning(status.error)
            return
        row = self._rows[status.learned]
        row["one_step_error"], row["h_step_error"] = status.one_step_error, status.h_step_error
        row["model_loss"] = status.model_loss
        self._write()
        if self._learns:
            supervisor.mailbox("models").put(self._folder.path)

    def _finish_learning(self, supervisor: Supervisor) -> None:
        """Wait for the last fit: the checkpoint is what the next deployment starts with. A dead learner makes none."""
        last = len(self._rows) - 1
        learner = supervisor.processes["learner"]
        supervisor.wait_for(
            lambda now: not learner.is_alive() or (now.learner is not None and now.learner.learned >= last),
            FIT_SECONDS,
            "the last fit",
        )
        self._hand_over(supervisor)

    def _park(self, supervisor: Supervisor) -> None:
        pose = self._task.robot.spec.park_pose
        if pose is not None:
            supervisor.carry_out(lambda order: GoTo(order, np.array(pose), self._start_speed), MOVE_SECONDS, "parking")

    def _stop_on_request(self, supervisor: Supervisor, *, park: bool) -> None:
        try:
            supervisor.come_to_rest("asked to stop")
            if park:
                self._park(supervisor)
        except (StoppedByFault, TimeoutError) as error:
            raise DeploymentStopped(f"{self._robot.name} could not be stopped in order: {error}") from None
        except StoppedOnRequest:
            logger.warning("asked to stop twice: %s is left where it is", self._robot.name)
        self._note_unfinished()

    def _note_unfinished(self) -> None:
        logger.info("%s: %d episodes are finished and kept", self._folder.path, len(self._rows))

    def _write(self) -> None:
        self._folder.write_metrics(self._rows)
        self._folder.write_json("summary.json", self._totals())

    def _totals(self) -> dict[str, Any]:
        def median(key: str) -> float | None:
            values = [row[key] for row in self._rows if isinstance(row.get(key), float)]
            return float(np.median(values)) if values else None

        successes = [int(row["success"]) for row in self._rows if row["success"] not in (None, "")]
        return {
            "task": self._config.task["name"],
            "robot": self._robot.name,
            "episodes": len(self._rows),
            "success_rate": float(np.mean(successes)) if successes else None,
            "plan_ms_p50": median("plan_ms_p50"),
            "plan_ms_p95": median("plan_ms_p95"),
            "jitter_ms_p99": median("jitter_ms_p99"),
            "plan_age_ms_p95": median("plan_age_ms_p95"),
            "state_age_ms_p95": median("state_age_ms_p95"),
            "deadline_misses": sum(int(row["missed_deadlines"]) for row in self._rows),
            "version": __version__,
        }

    def _summary(self, first: int) -> str:
        new = self._rows[first:]
        reached = [int(row["success"]) for row in new if row["success"] is not None]
        success = f", {sum(reached)} of {len(reached)} reached" if reached else ""
        count = "1 episode" if len(new) == 1 else f"{len(new)} episodes"
        return f"{count} on {self._robot.name}{success}; recorded in {self._folder.path}"


def deployment_row(
    task: Task, episode: Episode, number: int, timing: EpisodeTiming, wall_seconds: float
) -> dict[str, Any]:
    """One line of a deployment's metrics.csv: the task's numbers, and how well real time was kept."""
    observations = episode.observations
    plan_ms = np.array([made.plan_ms for made in episode.plans])
    success = task.success(observations)
    return {
        "episode": number,
        "steps": len(episode.actions),
        "return": sum(map(task.reward, observations[1:])),
        "success": None if success is None else int(success),
        **task.measures(observations),
        "model_loss": None,
        "one_step_error": None,
        "h_step_error": None,
        "plans": len(plan_ms),
        "plan_ms_p50": _percentile(plan_ms, 50),
        "plan_ms_p95": _percentile(plan_ms, 95),
        "plan_ms_p99": _percentile(plan_ms, 99),
        "plan_age_ms_p95": timing.plan_age * 1e3,
        "state_age_ms_p95": timing.state_age * 1e3,
        "jitter_ms_p50": timing.lateness[0] * 1e3,
        "jitter_ms_p99": timing.lateness[1] * 1e3,
        "jitter_ms_p999": timing.lateness[2] * 1e3,
        "held_ticks": timing.held_ticks,
        "late_ticks": timing.late_ticks,
        "wall_s": wall_seconds,
    }


def episode_line(row: Mapping[str, Any]) -> str:
    """One line that says how an episode went."""
    reached = {None: "", 1: "reached  ", 0: "missed   "}[row["success"]]
    distance = f"to {row['final_distance'] * 1e3:.0f} mm  " if "final_distance" in row else ""
    return (
        f"episode {row['episode']:3d}  return {row['return']:9.2f}  {reached}{distance}"
        f"plan {row['plan_ms_p50'] or math.nan:.0f} ms  jitter p99 {row['jitter_ms_p99']:.1f} ms  "
        f"late plans {row['missed_deadlines']}"
    )


def _deployment_folder(run: RunFolder, name: str) -> RunFolder:
    folder = RunFolder(run.path / "deployments" / name)
    try:
        folder.episodes.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.path}: the deployment cannot be written: {error.strerror}.") from None
    return folder


def _rows_on_disk(folder: RunFolder) -> list[dict[str, Any]]:
    return [{key: _parsed(value) for key, value in row.items()} for row in folder.read_metrics()]


def _parsed(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _percentile(values: Array, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None
