"""Episodes as Rerun recordings (https://rerun.io): one ``.rrd`` file that the Rerun viewer opens.

On the timeline ``episode_time`` (s since the recording began), per episode: ``VALUE/JOINT`` of every recorded value,
``requested/JOINT`` and ``sent/JOINT``, ``plan/cost``, ``plan/ms`` and ``plan/disagreement``, pictures under
``camera/NAME``, and events as text.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hardware.robot import Array
from robot_ctrl.errors import RunError
from robot_ctrl.steps import Steps, began

TIMELINE = "episode_time"


def write_rerun(episodes: Iterable[Steps], out: Path) -> None:
    """Write episodes into one ``.rrd`` file, in one step; each is under a name of its own.

    Raises:
        RunError: if rerun-sdk is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise RunError(
            f"export to Rerun needs the package rerun-sdk ({error}): pip install robot-ctrl[rerun]"
        ) from None
    temporary = out.with_name(out.name + ".tmp")
    recording = rerun.RecordingStream("robot-ctrl")
    recording.save(temporary)
    for steps in episodes:
        _Episode(rerun, recording, steps).log()
    recording.flush()
    recording.disconnect()
    temporary.replace(out)


class _Episode:
    """One episode on its way into a recording."""

    def __init__(self, rerun: Any, recording: Any, steps: Steps) -> None:
        self._rerun, self._recording, self._steps = rerun, recording, steps
        self._name = steps.episode.path.stem
        self._begin = began(steps.episode)

    def log(self) -> None:
        steps, episode = self._steps, self._steps.episode
        self._recording.log(f"{self._name}/about", self._rerun.TextDocument(_about(steps)), static=True)
        for name, commands in (("requested", steps.requested), ("sent", steps.sent)):
            for joint, column in zip(steps.joints, commands.T, strict=True):
                self._scalars(f"{name}/{joint}", steps.times, column)
        for name in steps.observations[0].values:
            values = steps.measured(name)
            if values is not None:
                self._value(name, values)
        times = np.array([plan.computed_at - self._begin for plan in episode.plans])
        doubts = [np.nan if plan.disagreement is None else plan.disagreement for plan in episode.plans]
        self._scalars("plan/cost", times, np.array([plan.cost for plan in episode.plans]))
        self._scalars("plan/ms", times, np.array([plan.plan_ms for plan in episode.plans]))
        self._scalars("plan/disagreement", times, np.array(doubts))
        for event in episode.events:
            self._recording.set_time(TIMELINE, duration=event.time - self._begin)
            self._recording.log(f"{self._name}/events", self._rerun.TextLog(f"{event.kind}: {event.text}"))
        self._pictures()

    def _value(self, name: str, values: Array) -> None:
        if values.ndim == 1:
            self._scalars(name, self._steps.times, values)
            return
        columns = values.reshape(len(values), -1)
        for part, column in zip(self._steps.names_of(name, columns.shape[1]), columns.T, strict=True):
            self._scalars(f"{name}/{part}", self._steps.times, column)

    def _scalars(self, path: str, times: Array, values: Array) -> None:
        known = np.isfinite(values)
        if known.any():
            self._recording.send_columns(
                f"{self._name}/{path}",
                indexes=[self._rerun.TimeColumn(TIMELINE, duration=times[known])],
                columns=self._rerun.Scalars.columns(scalars=values[known]),
            )

    def _pictures(self) -> None:
        for time, observation in zip(self._steps.times, self._steps.observations, strict=True):
            for camera, image in observation.images.items():
                self._recording.set_time(TIMELINE, duration=float(time))
                _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                picture = self._rerun.EncodedImage(contents=png.tobytes(), media_type="image/png")
                self._recording.log(f"{self._name}/camera/{camera}", picture)


def _about(steps: Steps) -> str:
    lines = [f"{key}: {value}" for key, value in steps.episode.metadata.items()]
    return "\n".join([str(steps.episode.path), f"outcome: {steps.episode.outcome}", *lines])
