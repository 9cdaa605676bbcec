"""The page about an episode: right from simulations, arms, cut-off and odd recordings."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from two_links import STEPS, record, two_links

from hardware.clock import VirtualClock
from hardware.robot import Observation, SentAction
from planners.plan import Plan
from robot_ctrl import episode_plots as plots
from robot_ctrl.errors import RunError
from robot_ctrl.recorder import EpisodeWriter
from robot_ctrl.steps import read_steps
from robot_ctrl.view import view


class Page(HTMLParser):
    """Checks that tags close, and keeps the text."""

    VOID = frozenset({"meta", "br", "path", "use", "link"})

    def __init__(self, path):
        super().__init__()
        self.open, self.text, self.sources = [], [], []
        self.raw = path.read_text("utf-8")
        self.feed(self.raw)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def __contains__(self, words):
        return words in re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture
def episode(tmp_path):
    return record(tmp_path / "episode_00000.mcap", two_links(tmp_path), greedy=True)


def test_the_page_says_what_happened(episode):
    path = view(episode)
    assert path == episode.with_suffix(".html")
    page = Page(path)
    assert page.sources == []
    for words in (
        "two-links · episode_00000",
        "finished",
        f"{STEPS} commands",
        "50.0 ms",
        f"1 of {STEPS} commands changed",
        "late plan",
        "the plan was 12 ms late <followed>",
        "0.550",
        "shoulder",
        "elbow",
    ):
        assert words in page
    assert "<followed>" not in page.raw
    assert not list(episode.parent.glob("*.tmp"))


def test_every_joint_shows_what_was_asked_sent_and_done(episode):
    steps = read_steps(episode)
    assert steps.commands_are_positions
    shoulder, elbow = plots.joints(steps).axes
    lines = {line.get_label(): line for line in elbow.lines}
    np.testing.assert_array_equal(lines["measured"].get_ydata(), steps.measured("joint_position")[:, 1])
    np.testing.assert_array_equal(lines["sent"].get_ydata()[:-1], steps.sent[:, 1])
    np.testing.assert_array_equal(lines["requested"].get_ydata()[:-1], steps.requested[:, 1])
    np.testing.assert_array_equal(lines["changed by the filter"].get_xdata(), [steps.times[5]])
    event = next(line for line in shoulder.lines if len(set(line.get_xdata())) == 1 and line.get_xdata()[0] > 0.5)
    assert event.get_xdata()[0] == pytest.approx(0.55)
    assert shoulder.get_ylabel() == "shoulder"


def test_pictures_of_a_camera_are_a_video_inside_the_page(tmp_path):
    path = record(tmp_path / "e.mcap", two_links(tmp_path), camera=True)
    page = Page(view(path, tmp_path / "pages" / "e.html"))
    (source,) = page.sources
    head, _, data = source.partition(",")
    assert head == "data:video/mp4;base64"
    assert base64.b64decode(data)[4:8] == b"ftyp"
    assert "front" in page


def arm_episode(path, *, outcome="fault", mode="velocity", steps=20):
    """A recording as a physical arm makes it: uneven times, plans, no simulator's state."""
    clock = VirtualClock(1000.0)
    rng = np.random.default_rng(0)
    about = {"task": "reach", "robot": "my_arm", "command_mode": mode, "joints": "a,b"}
    with EpisodeWriter(path, metadata=about, clock=clock) as writer:
        for number in range(steps):
            read = {"motion": clock.now()}
            position = np.array([0.01 * number, -0.02 * number])
            writer.write_observation(Observation(number, {"joint_position": position}, {}, read, read))
            clock.advance(0.001 + 0.002 * rng.random())
            command = rng.uniform(-1, 1, 2)
            writer.write_action(SentAction(command, command, (), clock.now()), np.zeros(2))
            plan = Plan(
                start_time=clock.now(),
                dt=0.02,
                actions=np.zeros((3, 2)),
                interpolation="hold",
                hold_action=np.zeros(2),
                cost=float("inf") if number == 3 else 10.0 - 0.1 * number,
                iterations=1,
                evaluated=8,
                finished="iterations",
                computed_from=number,
                computed_at=clock.now(),
            )
            writer.write_plan(plan, plan_ms=10 + number, disagreement=0.1 * number)
            clock.advance(0.018)
        writer.write_event("fault", "elbow is too hot")
        writer.close(outcome)
    return path


def test_commands_that_are_no_positions_have_axes_of_their_own(tmp_path):
    steps = read_steps(arm_episode(tmp_path / "e.mcap"))
    assert not steps.commands_are_positions
    figure = plots.joints(steps)
    assert len(figure.axes) == 4
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["command", "joint_position"]
    assert figure.axes[1].lines[0].get_label() == "measured"
    assert plots.worst_lag(steps) is None


def test_plans_and_timing_are_drawn_where_they_vary(tmp_path, episode):
    steps = read_steps(arm_episode(tmp_path / "e.mcap"))
    cost, took, doubt = plots.plans(steps).axes
    assert np.isnan(cost.lines[0].get_ydata()[3])
    np.testing.assert_allclose(took.lines[0].get_ydata(), 10 + np.arange(20))
    np.testing.assert_allclose(doubt.lines[0].get_ydata(), 0.1 * np.arange(20))
    between, age = plots.timing(steps).axes
    np.testing.assert_allclose(between.lines[0].get_ydata(), 1e3 * np.diff(steps.times))
    assert 1.0 < age.lines[0].get_ydata().min() < age.lines[0].get_ydata().max() < 3.0
    simulated = read_steps(episode)
    assert plots.plans(simulated) is None
    assert plots.timing(simulated) is None


def test_a_fault_stands_out(tmp_path):
    page = Page(view(arm_episode(tmp_path / "e.mcap")))
    assert "elbow is too hot" in page
    assert "1 of them faults" in page
    assert page.raw.count('class="bad"') >= 3


def test_limits_are_marked_by_joint(episode):
    figure = plots.limits(read_steps(episode))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["elbow: velocity", "shoulder: velocity"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.25, 0.25])


def test_a_recording_that_was_cut_off_is_shown_as_far_as_it_goes(episode):
    data = episode.read_bytes()
    episode.write_bytes(data[: int(len(data) * 0.7)])
    page = Page(view(episode))
    assert "Bytes lost" in page
    assert "unfinished" in page


def test_a_single_command_is_enough(tmp_path):
    page = Page(view(record(tmp_path / "e.mcap", two_links(tmp_path), steps=1)))
    assert "1 commands" in page


def test_the_last_episode_of_a_run_is_shown_unless_one_is_named(tmp_path):
    for number in (0, 3):
        record(tmp_path / f"episodes/episode_{number:05d}.mcap", two_links(tmp_path), steps=3)
    assert view(tmp_path) == tmp_path / "episodes/episode_00003.html"
    assert view(tmp_path, number=0) == tmp_path / "episodes/episode_00000.html"
    (tmp_path / "e.mcap").write_text("x" * 50)
    with pytest.raises(RunError, match="not an MCAP file"):
        view(tmp_path / "e.mcap")
