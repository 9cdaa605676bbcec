"""The report and its pictures: right from whole runs, from partial ones, and from odd numbers."""

import csv
import json
import logging
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from robot_ctrl import plots
from robot_ctrl.diagnostics import Diagnostics
from robot_ctrl.report import write_report

PARTS = ["metrics.csv", "summary.json", "config.yaml", "diagnostics.npz", "episode.mp4"]


def rows(count=6):
    return [
        {
            "episode": episode,
            "env_steps": 1000 * (episode + 1),
            "return": 100.0 * episode,
            "success": "" if episode == 0 else int(episode > 3),
            "model_loss": -1.0 - episode,
            "one_step_error": "" if episode == 0 else 0.5 / episode,
            "h_step_error": "" if episode == 0 else 5.0 / episode,
            "coverage_50": "" if episode == 0 else 0.45,
            "coverage_90": "" if episode == 0 else 0.85,
            "epistemic": "" if episode == 0 else 0.3 / episode,
            "aleatoric": "" if episode == 0 else 0.1,
            "plan_ms_p50": 30.0,
            "plan_ms_p95": 45.0,
            "wall_s": 10.0 * episode,
        }
        for episode in range(count)
    ]


def metrics(**changes):
    columns = {
        name: np.array([np.nan if row[name] == "" else float(row[name]) for row in rows()]) for name in rows()[0]
    }
    return columns | changes


def diagnostics(steps=60, horizon=10, particles=20, **changes):
    random = np.random.default_rng(0)
    times = 0.02 * np.arange(steps)
    observed = np.stack([np.sin(6 * times), np.cos(9 * times), np.ones(steps), times**2], axis=1)
    starts = np.arange(0, steps - horizon, 5)
    truth = observed[starts[:, None] + np.arange(horizon + 1)]
    noise = random.normal(size=(len(starts), particles, horizon + 1, 4)) * [0.1, 0.4, 0.1, 0.02]
    content = {
        "episode": 5,
        "state_names": ("angle", "height <b>", "target", "odometer"),
        "times": times,
        "observed": observed,
        "window_starts": starts,
        "predicted": (truth[:, None] + noise).astype(np.float32),
        "elite_costs": 10.0 / np.arange(1, 5) + random.random((steps, 1)),
        "plan_ms": 30 + random.random(steps),
        "cost_terms": {"reach": np.exp(-times), "effort": 0.1 + 0 * times},
    }
    return Diagnostics(**(content | changes))


@pytest.fixture
def run(tmp_path):
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows()[0]))
        writer.writeheader()
        writer.writerows(rows())
    summary = {
        "task": "cartpole <swingup>",
        "seed": 7,
        "episodes": 6,
        "env_steps": 6000,
        "return_best": 500.0,
        "return_mean_last3": 433.25,
        "success_rate": 0.4,
        "plan_ms_p50": 31.5,
        "plan_ms_p95": 44.5,
        "train_s": 61.0,
        "wall_s": 3725.0,
        "version": "0.1.0",
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "config.yaml").write_text("seed: 7\nplanner: {name: icem}  # <chosen> & kept\n")
    diagnostics().save(tmp_path / "diagnostics.npz")
    (tmp_path / "episode.mp4").write_bytes(b"video")
    return tmp_path


VOID = {"meta", "link", "br", "img", "source", "hr"}


class Page(HTMLParser):
    """Checks that tags match, and keeps the text and what was referred to."""

    def __init__(self, markup):
        super().__init__()
        self.open, self.text, self.links, self.counts = [], [], [], {}
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(run):
    path = write_report(run)
    assert path == run / "report.html"
    assert not list(run.glob("*.tmp"))
    return Page(path.read_text("utf-8"))


def test_a_whole_run_is_shown_in_one_self_contained_page(run):
    page = read(run)
    text = " ".join(" ".join(page.text).split())
    for expected in [
        "cartpole <swingup>",
        "seed 7",
        "0.1.0",
        "40 %",
        "433.2",
        "best 500",
        "31.5 ms",
        "44.5 ms",
    ]:
        assert expected in text
    for expected in [
        "6,000",
        "6 episodes",
        "1 h 02 min",
        "1 min 01 s",
        "planner: {name: icem} # <chosen> & kept",
    ]:
        assert expected in text
    assert page.counts["svg"] == page.counts["figure"] - 1 == 1 + 4 + 4 + 3
    assert page.counts["figcaption"] == page.counts["figure"]
    assert page.counts["video"] == 1
    assert page.counts["details"] == 2
    assert page.counts["tr"] == 1 + 6
    assert {link for link in page.links if not link.startswith("#")} == {"episode.mp4"}
    markup = (run / "report.html").read_text()
    assert not re.findall(r"url\((?!#)", markup)
    assert 'missing">' not in markup


@pytest.mark.parametrize("absent", [[part] for part in PARTS] + [PARTS])
def test_a_run_with_parts_missing_is_still_shown_and_says_what_is_missing(run, absent):
    for part in absent:
        (run / part).unlink()
    page = read(run)
    text = " ".join(page.text)
    for part in absent:
        assert f"no {part}" in text or f"no readable {part}" in text or f"{part} " in text, part
    assert ("svg" in page.counts) == (absent != PARTS)
    assert ("video" in page.counts) == ("episode.mp4" not in absent)


@pytest.mark.parametrize("part", ["summary.json", "diagnostics.npz"])
def test_a_damaged_part_is_left_out_with_a_warning(run, part, caplog):
    (run / part).write_bytes((run / part).read_bytes()[:60])
    with caplog.at_level(logging.WARNING):
        read(run)
    assert part in caplog.text


def test_metrics_with_odd_columns_and_cells_are_shown(run):
    (run / "metrics.csv").write_text(
        "episode,return,one_step_error,unknown,note\n0,1.5,nan,3,random\n1,oops,inf,4\n2,2.5,0.1,5,fine,extra\n"
    )
    page = read(run)
    assert page.counts["tr"] == 1 + 3
    (run / "metrics.csv").write_text("")
    assert "metrics.csv has no finished episode yet" in " ".join(read(run).text)


def test_a_missing_run_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_report(tmp_path / "nowhere")


def every_figure(columns, shown):
    figures = {
        plot.__name__: plot(columns)
        for plot in (
            plots.learning_curve,
            plots.model_loss,
            plots.prediction_error,
            plots.coverage,
            plots.uncertainty,
        )
    }
    figures |= {
        plot.__name__: plot(shown) for plot in (plots.reliability, plots.elite_costs, plots.plan_time, plots.cost_terms)
    }
    return figures | {"predicted_and_observed": plots.predicted_and_observed(shown, 1)}


def test_every_figure_is_a_picture_with_something_in_it():
    for name, figure in every_figure(metrics(), diagnostics()).items():
        assert figure is not None, name
        picture = cv2.imdecode(np.frombuffer(plots.png(figure), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (496, 800, 3), name
        assert (picture < 250).any(axis=2).mean() > 0.01, name
        markup = plots.svg(figure)
        assert markup.startswith("<svg"), name
        assert "var(--" in markup, name
        assert not re.search("#(?:1f2329|6a737e|dbe0e6|2563ec|d97707)", markup), name


def test_where_there_is_nothing_to_show_there_is_no_figure():
    nothing = diagnostics(
        window_starts=np.zeros(0, np.int64),
        predicted=np.zeros((0, 5, 11, 4), np.float32),
        elite_costs=np.zeros((0, 0)),
        plan_ms=np.zeros(0),
        cost_terms={},
    )
    empty = {name: np.full(6, np.nan) for name in metrics()}
    assert all(figure is None for figure in every_figure(empty, nothing).values())
    assert all(figure is None for figure in every_figure({}, nothing).values())
    assert plots.hardest_variables(nothing, 5) == []


def test_figures_stand_diverged_and_missing_values():
    shown = diagnostics()
    predicted = shown.predicted.copy()
    predicted[0, :3] = np.inf
    predicted[1] = np.nan
    elites = shown.elite_costs.copy()
    elites[:, 3] = np.nan
    elites[0] = np.inf
    wild = diagnostics(
        predicted=predicted,
        elite_costs=elites,
        plan_ms=np.array([np.nan, 3.0]),
        cost_terms={"a": np.full(60, np.nan), "b": shown.times},
    )
    holes = np.array([np.nan, 5.0, np.inf, 7.0, -np.inf, 9.0])
    columns = metrics(
        **{"return": holes, "model_loss": holes, "one_step_error": np.where(np.isnan(holes), np.nan, 0.0)}
    )
    for name, figure in every_figure(columns, wild).items():
        assert len(plots.png(figure)) > 5000, name
        plots.svg(figure)


def line(figure, label):
    [axes] = figure.axes
    return next(artist for artist in axes.lines if artist.get_label() == label)


def test_the_learning_curve_shows_the_numbers():
    returns = np.array([1.0, 5.0, 3.0, 8.0, 2.0, 9.0])
    figure = plots.learning_curve(metrics(**{"return": returns}))
    np.testing.assert_array_equal(line(figure, "return").get_xdata(), 1000 * np.arange(1, 7))
    np.testing.assert_array_equal(line(figure, "return").get_ydata(), returns)
    np.testing.assert_array_equal(line(figure, "best so far").get_ydata(), [1, 5, 5, 8, 8, 9])
    np.testing.assert_array_equal(line(figure, "success").get_ydata(), [2, 9])


def test_reliability_tells_calibrated_from_overconfident():
    random = np.random.default_rng(0)
    steps, windows, particles = 400, 300, 400
    observed = random.normal(size=(steps, 1))
    starts = np.arange(windows)

    def inside(spread):
        predicted = (spread * random.normal(size=(windows, particles, 2, 1))).astype(np.float32)
        shown = diagnostics(
            steps=60,
            state_names=("x",),
            times=np.arange(steps) * 0.1,
            observed=observed,
            window_starts=starts,
            predicted=predicted,
        )
        return line(plots.reliability(shown), "this episode").get_ydata()

    levels = np.linspace(10, 90, 9)
    np.testing.assert_allclose(inside(1.0), levels, atol=8)
    assert (inside(0.3)[2:7] < levels[2:7] - 10).all()
    assert (inside(3.0)[2:7] > levels[2:7] + 10).all()


def test_the_hardest_variables_are_those_with_the_largest_error_for_their_movement():
    shown = diagnostics()
    predicted = shown.predicted.copy()
    predicted[..., 3] += 5
    assert plots.hardest_variables(diagnostics(predicted=predicted), 2) == [3, 1]
    assert 2 not in plots.hardest_variables(shown, 10)  # it never moves


def test_small_cost_terms_are_added_up():
    times = 0.02 * np.arange(60)
    terms = {f"term {number}": np.full(60, float(number)) for number in range(1, 11)}
    figure = plots.cost_terms(diagnostics(cost_terms=terms))
    labels = [artist.get_label() for artist in figure.axes[0].lines]
    assert labels == [f"term {number}" for number in range(10, 4, -1)] + ["4 smaller terms"]
    np.testing.assert_allclose(line(figure, "4 smaller terms").get_ydata(), 1 + 2 + 3 + 4)
    np.testing.assert_allclose(line(figure, "term 10").get_xdata(), times)


def test_diagnostics_come_back_as_they_were_saved(tmp_path):
    saved = diagnostics()
    saved.save(tmp_path / "diagnostics.npz")
    loaded = Diagnostics.load(tmp_path / "diagnostics.npz")
    assert (loaded.episode, loaded.state_names) == (5, saved.state_names)
    for name in ("times", "observed", "window_starts", "predicted", "elite_costs", "plan_ms"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert list(loaded.cost_terms) == ["reach", "effort"]
    np.testing.assert_array_equal(loaded.cost_terms["reach"], saved.cost_terms["reach"])
    assert [path.name for path in tmp_path.iterdir()] == ["diagnostics.npz"]


def test_diagnostics_never_unpickle(tmp_path):
    np.savez(tmp_path / "diagnostics.npz", episode=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"diagnostics\.npz: not a readable diagnostics file"):
        Diagnostics.load(tmp_path / "diagnostics.npz")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"times": np.zeros(59)}, "59 times for 60"),
        ({"state_names": ("a", "b")}, "2 names for 4"),
        ({"window_starts": np.array([0, 55])}, "2 starts for"),
        ({"predicted": np.zeros((10, 20, 61, 4), np.float32)}, "windows of 61 states"),
        ({"plan_ms": np.zeros((2, 2))}, r"plan_ms has shape \(2, 2\)"),
        ({"cost_terms": {"reach": np.zeros(61)}}, "cost term 'reach'"),
    ],
)
def test_diagnostics_that_contradict_themselves_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        diagnostics(**changes)
