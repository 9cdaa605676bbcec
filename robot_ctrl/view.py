"""`robot-ctrl view`: one page about one episode, for any browser; everything is inside the page."""

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_ctrl import episode_plots as pictures
from robot_ctrl.pages import Number, Plot, write_page
from robot_ctrl.plots import svg
from robot_ctrl.steps import Steps, began, episode_files, read_steps
from robot_ctrl.video import VideoWriter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _Event:
    """A row of the table of events."""

    time: str
    kind: str
    text: str
    tone: str


@dataclass(frozen=True)
class _Film:
    """A camera's video, as base64."""

    camera: str
    data: str


def view(run_or_episode: Path, out: Path | None = None, *, number: int | None = None) -> Path:
    """Write a page about an episode, in one step, and return its path.

    Args:
        run_or_episode: an episode's ``.mcap`` file, or a run folder, of which the last episode is taken.
        out: the page; None puts it beside the episode.
        number: which episode of a run folder.

    Raises:
        RunError: if there is no such episode, or it holds no step.
    """
    path = episode_files(run_or_episode, number)[-1]
    steps = read_steps(path)
    metadata = steps.episode.metadata
    out = out or path.with_suffix(".html")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_page(
        out,
        "episode.html",
        name=" · ".join(part for part in (metadata.get("task"), path.stem) if part),
        about=" · ".join(part for part in (metadata.get("robot"), metadata.get("wall_clock_at_start")) if part),
        numbers=_numbers(steps),
        films=[_film(steps, camera) for camera in sorted(steps.observations[0].images)],
        pictures=_pictures(steps),
        events=_events(steps),
        metadata=sorted(metadata.items()),
    )
    return out


def _pictures(steps: Steps) -> list[Plot]:
    drawn: list[tuple[str, Figure | None, str]] = [
        (
            "Joints",
            pictures.joints(steps),
            "What the planner asked for, what the safety filter let through, and what the joint did, in command units "
            "and rad or m. Dotted lines are events.",
        ),
        (
            "Plans",
            pictures.plans(steps),
            "A cost that rises towards the end means the planner saw trouble coming; time above the control period "
            "means late plans; disagreement is the model's ignorance along the plan.",
        ),
        ("Limits", pictures.limits(steps), "Every mark is a command that the safety filter changed."),
        (
            "Timing",
            pictures.timing(steps),
            "Commands should be evenly apart, and based on a state that is a fraction of a period old.",
        ),
    ]
    return [Plot(title, svg(figure), caption) for title, figure, caption in drawn if figure is not None]


def _numbers(steps: Steps) -> list[Number]:
    episode = steps.episode
    changed = sum(bool(command.reasons) for command in steps.commands)
    faults = sum(map(pictures.is_fault, episode.events))
    tones = {"finished": "good", "fault": "bad"}
    numbers = [
        Number("Outcome", episode.outcome, "", tones.get(episode.outcome, "")),
        Number("Duration", f"{pictures.duration(steps):.2f} s", f"{len(steps.commands)} commands"),
        Number("Period", f"{steps.period * 1e3:.1f} ms", "median between commands"),
        Number("Plans", f"{len(episode.plans)}", _plan_remark(steps)),
        Number("Filter", f"{changed}", f"of {len(steps.commands)} commands changed"),
        Number("Events", f"{len(episode.events)}", f"{faults} of them faults", "bad" if faults else ""),
    ]
    lag = pictures.worst_lag(steps)
    if lag is not None:
        joint = int(np.argmax(lag))
        numbers.append(Number("Largest lag", f"{lag[joint]:.3f}", f"{steps.joints[joint]}, rad or m, one step after"))
    if episode.truncated:
        remark = "the recording was cut off; recover it"
        numbers.append(Number("Bytes lost", f"{episode.bytes_lost}", remark, "bad"))
    return numbers


def _plan_remark(steps: Steps) -> str:
    times = [plan.plan_ms for plan in steps.episode.plans]
    return f"median {np.median(times):.1f} ms, 95 % {np.percentile(times, 95):.1f} ms" if times else ""


def _events(steps: Steps) -> list[_Event]:
    begin = began(steps.episode)
    return [
        _Event(f"{event.time - begin:.3f}", event.kind, event.text, "bad" if pictures.is_fault(event) else "")
        for event in steps.episode.events
    ]


def _film(steps: Steps, camera: str) -> _Film:
    """A camera's pictures as a video at the speed of the recording."""
    frames = [observation.images[camera] for observation in steps.observations if camera in observation.images]
    height, width, _ = frames[0].shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with VideoWriter(path, 1.0 / steps.period if steps.period > 0 else 1.0, (width, height)) as film:
            for frame in frames:
                film.write(frame)
        return _Film(camera, base64.b64encode(path.read_bytes()).decode("ascii"))
