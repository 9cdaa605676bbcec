import csv
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from planners.cem import CEM
from robot_ctrl import bench
from robot_ctrl.benches import busy, fitting, imports, latent, loop, planning, rendering, timing
from robot_ctrl.benches.made_up import Size, fitted, transitions
from robot_ctrl.benches.products import forward_products, training_products
from robot_ctrl.benches.table import COLUMNS, Row, markdown, write_csv
from robot_ctrl.benches.timing import Pair

TINY = Size(3, 2, 2, (8,), 2)
ONE_CORE = ([1], "the other is busy")


class SteppedClock:
    """Time passes only where work says so."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def work(self, seconds: float) -> None:
        self.time += seconds


def row(value: float | None, at_least: float | None = None, at_most: float | None = None) -> Row:
    return Row("b", "s", 1, "fp32", 2.0, "floor", 1.0, "efficiency", value, at_least, at_most)


def test_work_and_peer_are_timed_in_turns():
    clock, order = SteppedClock(), []

    def work() -> None:
        order.append("work")
        clock.work(4.0)

    def peer() -> None:
        order.append("peer")
        clock.work(1.0)

    pairs = timing.in_turns(work, peer, repeats=2, clock=clock)
    assert pairs == [Pair(4.0, 1.0)] * 2
    assert order == ["work", "peer"] * 3
    assert pairs[0].efficiency == 0.25


def test_the_median_is_one_of_the_pairs():
    pairs = [Pair(1.0, 0.9), Pair(10.0, 1.0), Pair(2.0, 1.0)]
    assert timing.median(pairs) == Pair(2.0, 1.0)
    assert timing.median(pairs[:2]) == Pair(10.0, 1.0)


def test_the_fastest_form_is_chosen_by_the_clock():
    clock = SteppedClock()
    slow, fast = partial(clock.work, 2.0), partial(clock.work, 1.0)
    assert timing.fastest([slow, fast], clock=clock) is fast


def test_threads_are_restored_after_an_error():
    before = torch.get_num_threads()

    def fail() -> None:
        with timing.threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.get_num_threads() == before


def test_floors_do_not_count_as_planning():
    """Rollouts take 3 s and floors 2 s on a clock that nothing else moves."""
    clock = SteppedClock()
    model = fitted(TINY, transitions(TINY, 40))
    rollout = model.rollout

    def slow_rollout(*arguments, **named):
        clock.work(3.0)
        return rollout(*arguments, **named)

    model.rollout = slow_rollout
    plans = planning.Plans("tiny", TINY, 3, 8, 2, 4, repeats=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning.Floors, "run", lambda self, candidates: clock.work(2.0))
        pairs = list(planning.time_plans(plans, partial(CEM, elites=2, variance_threshold=0.0), model, clock))
    assert pairs == [Pair(12.0, 8.0)] * 2


def test_a_floor_has_as_many_rows_as_the_particles_of_a_member(monkeypatch):
    asked = []

    def products(sizes, **named):
        asked.append((sizes, named["members"], named["rows"], named["dtype"]))
        return lambda: asked.append("pass")

    monkeypatch.setattr(planning, "forward_products", products)
    model = TINY.model(precision="bf16")
    floors = planning.Floors(model, 3, SteppedClock())
    floors.run(10)
    floors.run(10)
    assert asked == [((5, 8, 6), 2, 10, torch.bfloat16), *["pass"] * 6]


def test_products_do_the_work_of_the_layers(monkeypatch):
    sizes, members, rows = (3, 7, 4), 2, 5
    flops = 0
    mm, bmm = torch.mm, torch.bmm

    def counted(product, batch):
        def count(a, b):
            nonlocal flops
            flops += 2 * batch * a.shape[-2] * a.shape[-1] * b.shape[-1]
            return product(a, b)

        return count

    monkeypatch.setattr(torch, "mm", counted(mm, 1))
    monkeypatch.setattr(torch, "bmm", counted(bmm, members))
    clock = SteppedClock()
    forward = forward_products(sizes, members=members, rows=rows, dtype=torch.float32, clock=clock)
    training = training_products(sizes, members=members, rows=rows, clock=clock)
    expected = 2 * members * rows * (3 * 7 + 7 * 4)
    flops = 0
    forward()
    assert flops == expected
    flops = 0
    training()
    assert flops == 3 * expected - 2 * members * rows * 3 * 7


def test_elites_agree_with_themselves_and_not_with_those_of_another_model():
    data = transitions(TINY, 60)
    plans = planning.Plans("tiny", TINY, 3, 40, 8, 2, repeats=1)
    model = fitted(TINY, data)
    assert planning.agreement(model, model, plans, data) == 1.0
    assert planning.agreement(model, TINY.model(seed=5), plans, data) < 1.0


@pytest.mark.parametrize(
    ("made", "target", "met"),
    [
        (row(0.8, at_least=0.75), "≥ 0.75", "yes"),
        (row(0.7, at_least=0.75), "≥ 0.75", "no"),
        (row(0.06, at_most=0.05), "≤ 0.05", "no"),
        (row(0.0, at_most=0.0), "≤ 0", "yes"),
        (row(0.5), "", ""),
        (row(None, at_least=0.5), "≥ 0.5", ""),
    ],
)
def test_a_row_says_whether_its_target_is_met(made, target, met):
    assert (made.target, made.met) == (target, met)


def test_the_table_and_the_csv_hold_the_same_cells(tmp_path):
    rows = [row(0.5, at_least=0.4), replace(row(None), note="a, b")]
    write_csv(rows, tmp_path / "new" / "b.csv")
    with (tmp_path / "new" / "b.csv").open(newline="", encoding="utf-8") as file:
        header, *cells = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert cells == [made.cells() for made in rows]
    lines = markdown(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == cells[0]


def test_several_threads_are_not_timed_on_busy_cores(monkeypatch):
    monkeypatch.setattr(busy, "available_cores", lambda: 4)
    monkeypatch.setattr(busy, "cores_in_use", lambda: 1.5)
    counts, reason = busy.thread_counts()
    assert counts == [1]
    assert "1.5 of 4" in reason
    monkeypatch.setattr(busy, "cores_in_use", lambda: 0.1)
    assert busy.thread_counts() == ([1, 4], "")


def test_busy_cores_are_counted_from_the_systems_ticks(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    stat.write_text("cpu 100 0 0 300 0 0 0 0 0 0\ncpu0 0\ncpu1 0\nintr 1\n")
    monkeypatch.setattr(busy, "STAT", stat)
    monkeypatch.setattr(
        busy.time, "sleep", lambda _: stat.write_text("cpu 150 0 0 350 0 0 0 0 0 0\ncpu0 0\ncpu1 0\nintr 1\n")
    )
    assert busy.cores_in_use() == 1.0


def test_planning_at_a_tiny_size(monkeypatch):
    monkeypatch.setattr(planning, "thread_counts", lambda: ONE_CORE)
    tiny = {"horizon": 3, "population": 12, "repeats": 1}
    for name, size in (("PETS", TINY), ("DEFAULT", TINY), ("SINGLE", Size(3, 2, 1, (8,), 1))):
        setting = replace(getattr(planning, name), size=size, **tiny)
        monkeypatch.setattr(planning, name, replace(setting, elites=min(setting.elites, 4)))
    rows = list(planning.planning_rows())
    measured = [made for made in rows if made.value is not None]
    assert [(made.bench, made.dtype, made.threads) for made in measured] == [
        ("planning", "fp32", 1),
        ("planning", "bf16", 1),
        ("planning: elites", "bf16", 1),
        ("planning", "fp32", 1),
        ("planning", "bf16", 1),
        ("planning: rollout", "fp32", 1),
        ("planning", "fp32", 1),
    ]
    assert {made.note for made in rows if made.value is None} == {ONE_CORE[1]}


def test_latent_planning_at_a_tiny_size(monkeypatch):
    monkeypatch.setattr(latent, "thread_counts", lambda: ONE_CORE)
    for name, value in {"HIDDEN": (8,), "POPULATION": 64, "ITERATIONS": 2, "HORIZON": 3, "REPEATS": 1}.items():
        monkeypatch.setattr(latent, name, value)
    rows = list(latent.latent_rows())
    assert [made.value is None for made in rows] == [False, True] * 2
    assert all(made.value > 0 for made in rows if made.value is not None)


def test_fitting_at_a_tiny_size(monkeypatch):
    monkeypatch.setattr(fitting, "thread_counts", lambda: ONE_CORE)
    for name, value in {"SIZE": TINY, "BATCH": 8, "STEPS": 3, "REPEATS": 1}.items():
        monkeypatch.setattr(fitting, name, value)
    measured, left_out = fitting.fitting_rows()
    assert measured.value == pytest.approx(measured.peer_ms / measured.measured_ms)
    assert (left_out.value, left_out.met) == (None, "")


def test_the_loop_is_timed_in_a_real_episode(monkeypatch):
    monkeypatch.setattr(loop, "STEPS", 3)
    (made,) = loop.loop_rows()
    assert 0 < made.measured_ms < made.peer_ms
    assert made.value == pytest.approx(made.measured_ms / made.peer_ms)


def test_what_the_loop_around_planner_and_simulator_costs():
    seconds = {"plan": 6.0, "simulate": 2.0, "observe": 0.5, "filter": 2.5, "record": 0.25}
    made = loop.row_of(seconds, total=10.0, steps=100, count=1, precision="fp32")
    assert (made.value, made.measured_ms, made.peer_ms) == (0.2, 20.0, 100.0)
    assert "filter 5" in made.note


def test_rendering_says_what_is_missing_without_opengl(monkeypatch):
    monkeypatch.setattr(rendering, "_in_a_process", lambda function: {"unavailable": "Install OpenGL"})
    (made,) = rendering.rendering_rows()
    assert (made.value, made.note) == (None, "Install OpenGL")


def test_rendering_compares_cpu_times(monkeypatch):
    answers = {"time_ours": {"cpu": 0.001, "wall": 0.002}, "time_theirs": {"cpu": 0.02, "wall": 0.03}}
    monkeypatch.setattr(rendering, "_in_a_process", answers.__getitem__)
    (made,) = rendering.rendering_rows()
    assert made.value == pytest.approx(20.0)
    assert "500 frames/s" in made.note


def test_simulators_are_noticed():
    assert imports.simulators_after("import types, sys; sys.modules['mujoco'] = types") == {"mujoco"}


def test_imports_and_help_load_no_simulator(monkeypatch):
    for statement in imports.STATEMENTS.values():
        assert imports.simulators_after(statement) == set()


def test_import_times_are_ratios_to_the_peers(monkeypatch):
    monkeypatch.setattr(imports, "simulators_after", lambda statement: {"mujoco"})
    monkeypatch.setattr(imports, "_seconds", lambda code: 2.0 if code == imports.PEER else 0.5)
    *times, simulators = imports.imports_rows()
    assert {made.value for made in times} == {0.25}
    assert (simulators.value, simulators.met, simulators.note) == (1, "no", "mujoco")


def test_bench_runs_what_was_asked_for(monkeypatch, tmp_path):
    rows = {name: [replace(row(0.5), bench=name)] for name in ("planning", "loop")}
    monkeypatch.setattr(bench, "BENCHES", {name: lambda made=made: made for name, made in rows.items()})
    table = bench.bench("all", tmp_path / "all.csv")
    assert "planning" in table
    assert "loop" in table
    assert "planning" not in bench.bench("loop", tmp_path / "loop.csv")
    assert len((tmp_path / "loop.csv").read_text().splitlines()) == 2


def test_the_command_line_knows_every_benchmark():
    help_text = subprocess.run(
        [sys.executable, "-m", "robot_ctrl", "bench", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(name in help_text for name in bench.BENCHES)
