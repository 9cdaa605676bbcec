"""Every example runs, on a tiny budget."""

import csv
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from robot_ctrl.build import load_controller
from robot_ctrl.cli import main
from robot_ctrl.errors import RunError

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = [
    "model.members=2",
    "model.particles=2",
    "model.hidden=[32]",
    "model.first_steps=100",
    "model.refit_steps=50",
    "threads=1",
    "episodes=3",
    "learning.random_episodes=2",
    "learning.show_episodes=0",
    "task.episode_steps=12",
]


def run(example: str, folder: Path, *overrides: str) -> list[dict[str, str]]:
    """The rows of metrics.csv of a tiny run."""
    assert main(["run", str(EXAMPLES / example), f"run_dir={folder}", *TINY, *overrides]) == 0
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["env_steps"]) for row in rows] == [12, 24, 36]
    assert all(np.isfinite(float(row["return"])) for row in rows)
    return rows


def test_my_arm_reaches_from_a_yaml_file(tmp_path: Path) -> None:
    run("my_arm/reach.yaml", tmp_path / "run", "learning.show_episodes=1")
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2"]) == 0
    trials = json.loads((tmp_path / "run" / "evaluation.json").read_text())["each"]
    assert all(trial["start_reach"] > 0 for trial in trials)


@pytest.mark.parametrize("planner", ["icem", "cem", "mppi", "pddm", "random-shooting"])
def test_planners_are_compared_with_one_file(tmp_path: Path, planner: str) -> None:
    rows = run("compare_planners.yaml", tmp_path / "run", f"planner.name={planner}")
    assert [bool(row["plan_ms_p50"]) for row in rows] == [False, False, True]


def test_own_task_is_run_from_its_file(tmp_path: Path) -> None:
    rows = run("own_task.py:SwingUp", tmp_path / "run")
    assert all(0 <= float(row["return"]) <= 12 for row in rows)


def test_own_loop_drives_with_a_trained_controller(tmp_path: Path) -> None:
    run("my_arm/reach.yaml", tmp_path / "run")
    loop = load_example("own_loop.py")
    distance = loop.main(tmp_path / "run", steps=5)
    assert 0 < distance < 1


def test_own_loop_sees_what_the_task_sees(tmp_path: Path) -> None:
    run("my_arm/reach.yaml", tmp_path / "run")
    task, _, _ = load_controller(tmp_path / "run")
    loop = load_example("own_loop.py")
    arm = loop.MyArm()
    position, _, tip = arm.read()
    observation = loop.observe(0, arm, position, np.array([0.2, 0.1, 0.25]))
    state = dict(zip(task.state_spec.names, task.state(observation), strict=True))
    assert state["elbow"] == position[2]
    assert state["elbow_command"] == position[2]
    assert [state["tip_x"], state["tip_y"], state["tip_z"]] == pytest.approx(tip)
    assert task.goal(observation).tolist() == [0.2, 0.1, 0.25]


def test_a_run_without_a_model_has_no_controller(tmp_path: Path) -> None:
    arguments = [str(EXAMPLES / "my_arm/reach.yaml"), f"run_dir={tmp_path / 'run'}", *TINY]
    main(["run", *arguments, "episodes=1"])
    with pytest.raises(RunError, match="no fitted model"):
        load_controller(tmp_path / "run")


def load_example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_library_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("my_arm/reach.yaml", tmp_path / "runs" / "reach")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    page = (EXAMPLES.parent / "docs" / "library.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), names)
    assert names["command"].shape == (3,)
    assert names["futures"].shape == (5, 2, 11, 2)


def test_the_robot_page_shows_the_example() -> None:
    page = (EXAMPLES.parent / "docs" / "your-robot.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    example = yaml.safe_load((EXAMPLES / "my_arm" / "reach.yaml").read_text())
    assert yaml.safe_load(shown)["task"] == example["task"]
