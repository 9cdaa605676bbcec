"""The learner process: refits the model to what the arm did, while the arm does the next thing."""

import logging
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hardware.clock import MonotonicClock
from models.ensemble import ProbabilisticEnsemble
from models.learned import LearnedModel
from models.normalizer import Normalizer
from models.novelty import Novelty
from robot_ctrl.config import RunConfig
from robot_ctrl.episodes import read_episode
from robot_ctrl.realtime.channels import Mailbox, Pulse, StopRequest
from robot_ctrl.realtime.parts import load_task_and_model
from robot_ctrl.run_folder import RunFolder
from robot_ctrl.seeds import derive_seed
from robot_ctrl.task import Task

logger = logging.getLogger(__name__)
IDLE_SECONDS = 0.02
NICENESS = 10


@dataclass(frozen=True)
class Lesson:
    """Learn from the first so many episodes of the deployment."""

    episodes: int


@dataclass(frozen=True)
class LearnerStatus:
    """How learning stands.

    Attributes:
        ready: whether it can learn.
        learned: the last episode that was judged and learned from; −1 before the first.
        one_step_error: of the model before the fit, on that episode, see ``models.calibration``.
        h_step_error: likewise.
        model_loss: after the fit, on rows held out.
        seconds: that judging and fitting took.
        error: what the last fit failed with.
    """

    ready: bool = False
    learned: int = -1
    one_step_error: float = math.nan
    h_step_error: float = math.nan
    model_loss: float | None = None
    seconds: float = 0.0
    error: str | None = None


@dataclass
class LearnerChannels:
    """What the learner shares with the others."""

    lessons: Mailbox
    status: Mailbox
    pulse: Pulse
    supervisor: Pulse
    stop: StopRequest
    quit: Mailbox
    supervisor_limit: float = 2.0


@dataclass(frozen=True)
class LearnerSettings:
    """What the learner needs to know.

    Attributes:
        config: the run's configuration.
        run: the run whose last model it starts with, and whose episodes stay in the data set.
        folder: the deployment's own folder, of episodes to learn from and checkpoints to write.
        refit: whether to fit, or only to judge the model on every episode.
        arm_share: the part of what is fitted that comes from the arm.
        threads: for tensor work.
    """

    config: RunConfig
    run: Path
    folder: Path
    refit: bool = True
    arm_share: float = 0.8
    threads: int = 1


class Learner:
    """Judges the model on each episode of the deployment, then fits it to all of them and to the run's own.

    Fits go on from the weights that were learned in simulation. The arm's few transitions are repeated until they
    are ``arm_share`` of the data: where arm and simulation differ the arm is right, and where the arm has not been
    yet the simulation is better than nothing.
    """

    def __init__(self, settings: LearnerSettings, task: Task, model: LearnedModel[Any]) -> None:
        self._settings, self._task, self._model = settings, task, model
        self._simulated = self._read_run()
        self._arm: list[Any] = []
        self.status = LearnerStatus()

    def learn(self, episodes: int) -> LearnerStatus:
        """Learn from the first so many episodes; writes a checkpoint if the model was fitted.

        Raises:
            ValueError: if the model cannot be fitted.
        """
        started = time.perf_counter()
        folder = RunFolder(self._settings.folder)
        judged = None
        for number in range(len(self._arm), episodes):
            episode = read_episode(folder.episode_path(number))
            part = self._task.experience(episode, number, self._model.device)
            if len(part):
                judged = self._model.calibrate(part)
            self._arm.append(part)
        loss = None
        if self._settings.refit and any(map(len, self._arm)):
            loss = self._fit(episodes)
            folder.save_checkpoint(episodes - 1, {"fits": episodes, "model": self._model.state_dict(), "rows": []})
        self.status = LearnerStatus(
            ready=True,
            learned=episodes - 1,
            one_step_error=math.nan if judged is None else judged.one_step_rmse,
            h_step_error=math.nan if judged is None else judged.h_step_rmse,
            model_loss=loss,
            seconds=time.perf_counter() - started,
        )
        return self.status

    def _fit(self, episodes: int) -> float:
        generator = torch.Generator().manual_seed(derive_seed(self._settings.config.seed, "deployment fit", episodes))
        share = self._settings.arm_share
        rows = sum(map(len, self._arm))
        times = max(1, round(share / (1 - share) * len(self._simulated) / rows))
        repeated = [_renumbered(part, number) for number, part in enumerate(self._arm * times, self._first)]
        self._go_on()
        everything = self._simulated.concatenate([self._simulated, *repeated])
        loss = self._model.fit(everything, generator=generator).holdout_loss
        if isinstance(self._model, ProbabilisticEnsemble):
            self._measure_novelty(self._model)
        return loss

    @property
    def _first(self) -> int:
        """The number of the arm's first episode."""
        return int(self._simulated.episodes.max()) + 1

    def _go_on(self) -> None:
        """Have the next fit go on from the weights, though the rows before are not those of the fit before."""
        state = self._model.state_dict()
        state["rows_seen"] = 1
        self._model.load_state_dict(state)

    def _measure_novelty(self, model: ProbabilisticEnsemble) -> None:
        """Tell new states from known ones by each transition once: a repeated row is never new."""
        arm = [_renumbered(part, number) for number, part in enumerate(self._arm, self._first)]
        states = self._simulated.concatenate([self._simulated, *arm]).states
        state = model.state_dict()
        rows = torch.randperm(len(states), generator=torch.Generator().manual_seed(0))
        held_out, known = rows[: len(rows) // 10], rows[len(rows) // 10 :].sort().values
        novelty = Novelty(model.features)
        novelty.fit(states, known, held_out, Normalizer(state["inputs"]["mean"], state["inputs"]["std"]))
        state["novelty"] = {"reference": novelty.reference, "typical": novelty.typical}
        model.load_state_dict(state)

    def _read_run(self) -> Any:
        folder = RunFolder(self._settings.run)
        numbers = range(len(folder.read_metrics()))
        episodes = [read_episode(folder.episode_path(number)) for number in numbers]
        parts = [self._task.experience(episode, number, self._model.device) for number, episode in enumerate(episodes)]
        return parts[0].concatenate(parts)


def _renumbered(part: Any, number: int) -> Any:
    """The same experience as another episode."""
    return replace(part, episodes=torch.full_like(part.episodes, number))


def learn(settings: LearnerSettings, channels: LearnerChannels) -> None:
    """The learner process: learn what it is told to until told to quit, or until the supervisor is gone."""
    channels.stop.heed()
    os.nice(NICENESS)
    torch.set_num_threads(settings.threads)
    clock = MonotonicClock()
    learner = Learner(settings, *load_task_and_model(settings.config, newest_model(settings.run, settings.folder)))
    channels.status.put(LearnerStatus(ready=True))
    while channels.quit.get() is None:
        channels.pulse.beat(clock.now())
        if channels.supervisor.age(clock.now()) > channels.supervisor_limit:
            return
        lesson: Lesson | None = channels.lessons.get()
        if lesson is None:
            time.sleep(IDLE_SECONDS)
            continue
        try:
            channels.status.put(learner.learn(lesson.episodes))
        except Exception as error:  # the arm goes on with the model that it has
            logger.warning("learning failed", exc_info=error)
            channels.status.put(
                LearnerStatus(ready=True, learned=lesson.episodes - 1, error=f"learning failed: {error}")
            )


def newest_model(run: Path, folder: Path) -> Path:
    """Where the model to start with is: the deployment's own folder if it learned before, else the run."""
    own = folder / "checkpoints"
    return folder if own.is_dir() and any(own.iterdir()) else run
