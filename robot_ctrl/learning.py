"""Model-based reinforcement learning as one loop; the lecture's versions 0.5, 1.0 and 1.5 are settings of it.

    1. run a base policy π₀ to collect D = {(s, a, s')}
    2. fit the dynamics model f(s, a) to D
    3. plan through f                                        0.5 stops learning here: ``refit: false``
    4. execute the plan, add what happened to D, go to 2     1.0 follows each plan: ``replan_every: 0``
    4' execute the first action only, replan at every step   1.5: ``replan_every: 1`` and ``refit_every: N`` steps

Source: S. Levine, CS 285, lecture "Model-based reinforcement learning".
"""

import logging
import time
from typing import Any, Protocol

import torch

from hardware.safety import SafetyFilter
from models.actor_critic import ActorCritic
from models.fitting import FitReport
from models.learned import LearnedModel
from planners.plan import Plan
from robot_ctrl.config import RunConfig
from robot_ctrl.controller import Controller
from robot_ctrl.dataset import Dataset, Experience, step_costs
from robot_ctrl.errors import RunError
from robot_ctrl.interruption import shielded
from robot_ctrl.loop import EpisodeResult, run_episode
from robot_ctrl.metrics import episode_row, summarise
from robot_ctrl.policies import BasePolicy, Policy
from robot_ctrl.recorder import EpisodeWriter, about_robot
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Task

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Someone who watches a run."""

    def step(self, episode: int, result: EpisodeResult) -> None:
        """A control period ended."""
        ...

    def fitting(self, episode: int) -> None:
        """The model is about to be fitted."""
        ...

    def episode(self, row: dict[str, Any]) -> None:
        """An episode ended; row is its line of metrics.csv."""
        ...


class Learner:
    """One run: its task, its model, its data and where it stands.

    Args:
        config: the run's configuration.
        folder: the run folder; continues from its last checkpoint.
        task: the task.
        model: the dynamics model, not yet fitted.
        controller: plans through that model.
        safety: the filter between the loop and the robot.
        watcher: is told what happens.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        task: Task,
        model: LearnedModel[Any],
        controller: Controller,
        safety: SafetyFilter,
        watcher: Watcher,
    ) -> None:
        self._config = config
        self._folder = folder
        self._task = task
        self._model = model
        self._controller = controller
        controller.explore(config.learning.optimism)
        self._safety = safety
        self._watcher = watcher
        self._dataset = Dataset(task, model.device)
        self._rows: list[dict[str, Any]] = []
        self._fits = 0
        self._train_seconds = self._train_cpu_seconds = 0.0
        self._wall_seconds = 0.0
        self._restore()

    @property
    def finished(self) -> bool:
        """Whether no episode is left to run."""
        limit = self._config.env_steps
        enough = bool(limit and self._rows and self._rows[-1]["env_steps"] >= limit)
        return enough or len(self._rows) >= self._config.episodes

    def learn(self) -> dict[str, Any]:
        """Run the episodes that are left; returns what summary.json says."""
        config = self._config.learning
        while not self.finished:
            started = time.perf_counter()
            number = len(self._rows)
            exploring = number < config.random_episodes
            result = self._run_episode(number, exploring)
            executed = self._dataset.add(self._folder.episode_path(number), self._folder.unfinished_attempts(number))
            errors = self._model.calibrate(executed) if self._fits else None
            since_random = number + 1 - config.random_episodes
            fit = (
                self._fit(number, self._dataset.transitions())
                if not since_random
                or (config.refit and not exploring and since_random % config.refit_every_episodes == 0)
                else None
            )
            self._wall_seconds += time.perf_counter() - started
            plan_seconds = [] if exploring else self._controller.plan_seconds
            row = episode_row(number, self._env_steps(result), result, fit, errors, plan_seconds, self._wall_seconds)
            self._finish_episode(row)
        return self._summary()

    def _run_episode(self, number: int, exploring: bool) -> EpisodeResult:
        config = self._config
        policy: Policy = self._controller
        if exploring:
            learning = config.learning
            kind, colour, gentle = learning.base_policy, learning.base_policy_colour, learning.base_policy_gentle
            policy = BasePolicy(self._task, kind, colour, gentle=gentle)
        path = self._folder.episode_path(number)
        about = {"task": str(config.task["name"]), "episode": str(number), "seed": str(config.seed)}
        metadata = about_robot(self._task.robot.spec) | about
        with EpisodeWriter(path, metadata=metadata, clock=self._task.robot.clock) as recorder:
            plans_written: list[Plan] = []

            def after_step(result: EpisodeResult) -> None:
                self._watcher.step(number, result)
                if not exploring and len(self._controller.plans) > len(plans_written):
                    plans_written.append(self._controller.plans[-1])
                    with shielded():
                        recorder.write_plan(plans_written[-1], plan_ms=self._controller.plan_seconds[-1] * 1e3)
                every = config.learning.refit_every
                if every and not exploring and result.steps % every == 0 and result.steps < self._task.episode_steps:
                    with shielded():
                        recorder.flush()
                    self._fit(number, self._dataset.with_open_episode(path))

            result = run_episode(
                self._task,
                policy,
                self._safety,
                reset_seed=derive_seed(config.seed, "reset", number),
                policy_seed=derive_seed(config.seed, "policy", number),
                recorder=recorder,
                after_step=after_step,
            )
            with shielded():
                recorder.close("finished")
        return result

    def _fit(self, number: int, data: Experience) -> FitReport:
        self._watcher.fitting(number)
        started, worked = time.perf_counter(), time.process_time()
        generator = torch.Generator().manual_seed(derive_seed(self._config.seed, "fit", self._fits))
        try:
            report = self._model.fit(data, generator=generator)
        except ValueError as error:
            raise RunError(f"the model cannot be fitted to episodes 0 to {number}: {error}") from error
        if self._controller.value is not None:
            self._fit_value(self._controller.value, data, generator)
        self._fits += 1
        self._train_seconds += time.perf_counter() - started
        self._train_cpu_seconds += time.process_time() - worked
        return report

    def _fit_value(self, value: ActorCritic, data: Experience, generator: torch.Generator) -> None:
        transitions = self._task.transitions(data)
        report = value.fit(transitions, step_costs(self._task, transitions), generator=generator)
        logger.debug(
            "value: error %.3f, critics disagree by %.3f, entropy %.2f",
            report.error,
            report.disagreement,
            report.entropy,
        )

    def _finish_episode(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        progress = {
            "rows": self._rows,
            "fits": self._fits,
            "train_s": self._train_seconds,
            "train_cpu_s": self._train_cpu_seconds,
            "wall_s": self._wall_seconds,
            "model": self._model.state_dict(),
            "value": None if self._controller.value is None else self._controller.value.state_dict(),
        }
        with shielded():
            self._folder.save_checkpoint(row["episode"], progress)
            self._folder.write_metrics(self._rows)
            self._folder.write_json("summary.json", self._summary())
        self._watcher.episode(row)

    def _summary(self) -> dict[str, Any]:
        summary = summarise(self._config, self._rows, self._train_seconds, self._wall_seconds)
        return summary | {"train_cpu_s": self._train_cpu_seconds}

    def _restore(self) -> None:
        checkpoint = self._folder.load_checkpoint()
        if checkpoint is not None:
            self._rows = checkpoint["rows"]
            self._fits = checkpoint["fits"]
            self._train_seconds = checkpoint["train_s"]
            self._train_cpu_seconds = checkpoint.get("train_cpu_s", 0.0)
            self._wall_seconds = checkpoint["wall_s"]
        self._folder.set_aside(len(self._rows))
        if len(self._folder.read_metrics()) != len(self._rows):
            self._folder.write_metrics(self._rows)
        for path in sorted(self._folder.demonstrations.glob("*.mcap")):
            self._dataset.add_demonstration(path)
        for number in range(len(self._rows)):
            self._dataset.add(self._folder.episode_path(number), self._folder.unfinished_attempts(number))
        if checkpoint is not None:
            model = checkpoint["model"]
            # A recording that was damaged since holds fewer rows than the model was fitted to.
            model["rows_seen"] = min(model["rows_seen"], len(self._dataset))
            self._model.load_state_dict(model)
            if self._controller.value is not None:
                self._controller.value.load_state_dict(checkpoint["value"])

    def _env_steps(self, result: EpisodeResult) -> int:
        before = int(self._rows[-1]["env_steps"]) if self._rows else 0
        return before + result.steps * self._task.env_steps_per_action
