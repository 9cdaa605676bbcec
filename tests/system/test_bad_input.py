"""Whatever is wrong with what a run is given: one message with the remedy, an exit status, and nothing lost."""

import errno
import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import POINT_MASS, TINY, command, metrics_but_timing, start

from robot_ctrl.cli import main
from robot_ctrl.episodes import read_episode

ARM = """
<mujoco model="one_joint">
  <option timestep="0.01"/>
  <worldbody>
    <body><joint name="shoulder" axis="0 1 0" damping="1"/><geom type="capsule" size="0.02" fromto="0 0 0 0.2 0 0"/>
      <site name="tip" pos="0.2 0 0"/></body>
  </worldbody>
  <actuator><position name="shoulder" joint="shoulder" kp="10" ctrlrange="-1 1"/></actuator>
</mujoco>
"""

TASK = """
task:
  name: mjcf
  mjcf: arm.xml
  cost: {reach: {kind: site-distance, site: tip}}
  goal: {at: [0, 0, 0.2]}
"""


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said on stderr, in few lines, with a status that is not 0."""
    status = main(arguments)
    said = capsys.readouterr().err
    assert status == 2, said
    assert said.startswith("robot-ctrl: ")
    assert len(said.splitlines()) <= 4
    return said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["arm-rech"], r"unknown task 'arm-rech'. Did you mean 'arm-reach'\?"),
        (["nothing.py:Task"], "there is no such file"),
        (["nothing.yaml"], "cannot be read"),
        (["dmc:cartpole"], "dmc:domain-task"),
        (["dmc:cartpol-swingup"], "there is no dm_control domain 'cartpol'"),
        (["gym:Pendulum-v99"], "there is no Gymnasium environment 'Pendulum-v99'"),
        (["gym:CartPole-v1"], "continuous actions, such as Pendulum-v1"),
        ([POINT_MASS, "sed=3"], "sed: unknown key"),
        ([POINT_MASS, "seed"], "give overrides as key=value"),
        ([POINT_MASS, "seed=-1"], "seed = -1"),
        ([POINT_MASS, "seed=many"], "seed = 'many'"),
        ([POINT_MASS, "threads=0"], "threads.* = 0"),
        ([POINT_MASS, "device=tpu"], "device = 'tpu'"),
        ([POINT_MASS, "device=cuda:99"], r"CUDA devices here. Use device=cpu"),
        ([POINT_MASS, "episodes=.nan"], "episodes = nan"),
        ([POINT_MASS, "robot.max_velocity=.nan"], "robot.max_velocity = nan"),
        ([POINT_MASS, "robot.max_speed=1"], "robot.max_speed: unknown key"),
        ([POINT_MASS, "learning.version=2"], "0.5, 1.0 and 1.5"),
        ([POINT_MASS, "learning.base_policy=drunk"], "learning.base_policy = 'drunk'"),
        ([POINT_MASS, "task.episode_step=3"], r"unknown key in task 'episode_step'. Did you mean 'episode_steps'\?"),
        ([POINT_MASS, "task.episode_steps=0"], "an episode has 0 control periods; it needs at least 1"),
        ([POINT_MASS, "model.member=3"], r"unknown key in model 'member'. Did you mean 'members'\?"),
        ([POINT_MASS, "model.members=0"], "members is 0; it must be at least 1"),
        ([POINT_MASS, "model.learning_rate=.inf"], "model.learning_rate = inf"),
        ([POINT_MASS, "model.particles=3"], "must be a multiple of the 5 members"),
        ([POINT_MASS, "planner=icem"], "planner = 'icem'"),
        ([POINT_MASS, "planner.name=ice"], "'ice' is unknown; there are random-shooting, cem, icem"),
        ([POINT_MASS, "planner.horizn=3"], r"unknown key in planner \(icem\) 'horizn'. Did you mean 'horizon'\?"),
        ([POINT_MASS, "planner.now=3"], r"unknown key in planner \(icem\) 'now'"),
        ([POINT_MASS, "planner.horizon=2.5"], "planner.horizon = 2.5"),
        ([POINT_MASS, "planner.horizon=0"], "steps is 0; it must be positive"),
        ([POINT_MASS, "planner.elites=400"], "elites is 400; it must be from 1 to 64"),
        ([POINT_MASS, "planner.decay=.nan"], "planner.decay = nan"),
        ([POINT_MASS, "planner.risk=brave"], "unknown planner.risk 'brave'"),
        ([POINT_MASS, "planner.risk=cvar"], "needs planner.risk_parameter"),
    ],
    ids=lambda value: " ".join(value).rpartition("/")[2] if isinstance(value, list) else "",
)
def test_what_a_run_cannot_use_is_named_and_leaves_no_folder(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "run", *arguments, f"run_dir={tmp_path / 'run'}")
    assert re.search(message, said), said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</mujoco>", "", "arm.xml does not compile"),
        ('joint="shoulder" kp', 'joint="elbow" kp', "arm.xml does not compile.*elbow"),
        ("mjcf: arm.xml", "mjcf: leg.xml", "there is no file .*leg.xml"),
        ("site: tip", "site: hand", "'hand'"),
        ("mjcf: arm.xml", "mjcf: arm.xml\n  actuators: [elbow]", "actuator.*'elbow'.*shoulder"),
        ("at: [0, 0, 0.2]", "low: [0, 0, 1], high: [0, 0, 0]", "low exceeds high along z"),
        ("at: [0, 0, 0.2]", "at: [0, 0, .nan]", "task.goal.at.2"),
        ("at: [0, 0, 0.2]", "at: nowhere", "task.goal.at"),
        ("at: [0, 0, 0.2]}", "at: [0, 0, 0.2]", "not a YAML file"),
    ],
)
def test_a_yaml_or_mjcf_that_cannot_be_used_is_named(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in ARM + TASK
    (tmp_path / "arm.xml").write_text(ARM.replace(old, new))
    (tmp_path / "reach.yaml").write_text(TASK.replace(old, new))
    status = main(["run", str(tmp_path / "reach.yaml"), f"run_dir={tmp_path / 'run'}"])
    said = capsys.readouterr().err
    assert status == 2
    assert re.search(message, said), said
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    ended = start(folder, "episodes=2")
    assert ended.status == 0, ended.text
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_folder_that_exists_is_kept(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = metrics_but_timing(run)
    said = refused(capsys, "run", POINT_MASS, *TINY, f"run_dir={run}")
    assert f"robot-ctrl resume {run}" in said
    assert "overwrite=true" in said
    assert metrics_but_timing(run) == before


def test_a_run_is_not_replaced_by_one_that_cannot_start(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "run", POINT_MASS, *TINY, f"run_dir={run}", "overwrite=true", "planner.elites=400")
    assert len(metrics_but_timing(run)) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("horizon: 4", "horizn: 4", "unknown key in planner .icem. 'horizn'"),
        ("seed: 3", "seed: three", "seed = 'three'"),
        ("PointMass", "PointMess", "unknown class 'PointMess'"),
        ("episodes: 2", "episodes: [2", "not a YAML file"),
    ],
)
@pytest.mark.parametrize("what", ["resume", "evaluate"])
def test_a_configuration_that_was_edited_wrongly_is_named(
    what: str, old: str, new: str, message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))
    assert main([what, str(run)]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert str(run / "config.yaml") in said or "PointMess" in said
    assert len(metrics_but_timing(run)) == 2


def test_data_that_cannot_be_learned_from_are_named(tmp_path: Path) -> None:
    ended = start(tmp_path / "run", "task.episode_steps=1")
    assert ended.status == 2
    assert "the model cannot be fitted to episodes 0 to 0: fit: there are 1 transitions" in ended.text
    assert "Traceback" not in ended.text


def test_evaluation_needs_a_fitted_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert start(run, "learning.random_episodes=2", "episodes=1").status == 0
    assert "has no fitted model yet: let the run finish its random episodes" in refused(capsys, "evaluate", str(run))


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("resume", "evaluate"):
        assert "not a run folder" in refused(capsys, what, str(tmp_path))


def test_what_cannot_be_recovered_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.mcap"
    path.write_text("my notes")
    assert "not an MCAP file" in refused(capsys, "recover", str(path))
    assert path.read_text() == "my notes"


def test_a_run_goes_on_without_opengl_and_says_so_once(tmp_path: Path) -> None:
    ended = start(tmp_path / "run", "episodes=2", "learning.show_episodes=3", real_report=True)
    assert ended.status == 0, ended.text
    assert ended.text.count("no video: the rail cannot be drawn: install an OpenGL") == 1
    assert "There is no episode.mp4" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "diagnostics.npz").exists()


def files_of_at_most(size: int) -> Callable[[], None]:
    """Every write beyond so many bytes of a file fails, as on a disk without room."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def no_room() -> None:
    """Every write to an episode fails as on a full disk."""

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.write = fail


def test_an_episode_that_does_not_fit_on_the_disk_is_closed_and_the_run_goes_on_later(tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ("episodes=2", "task.episode_steps=60")
    ended = start(run, *more, before=files_of_at_most(6000))
    assert ended.status == 1, ended.text
    assert "episode_00000.mcap: cannot be written" in ended.text
    assert "bytes before it are kept" in ended.text
    assert f"robot-ctrl resume {run}" in ended.text
    assert "Traceback" not in ended.text
    assert len(read_episode(run / "episodes" / "episode_00000.mcap").actions) > 0
    assert command("resume", str(run)).status == 0
    assert start(tmp_path / "other", *more).status == 0
    assert metrics_but_timing(run) == metrics_but_timing(tmp_path / "other")


def test_a_full_disk_says_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = start(run, "episodes=2", before=no_room)
    assert ended.status == 1
    assert "the disk is full" in ended.text
    assert "Free some space" in ended.text
    assert f"robot-ctrl resume {run}" in ended.text
    assert command("resume", str(run)).status == 0


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(run: Path) -> None:
    before = (run / "checkpoints" / "episode_00001.pt").read_bytes()
    (run / "checkpoints" / "episode_00002.pt.tmp").symlink_to("/dev/full")
    ended = command("resume", str(run), "episodes=3")
    assert ended.status == 1, ended.text
    assert "episode_00002.pt: the disk is full. Free some space" in ended.text
    assert f"robot-ctrl resume {run}" in ended.text
    assert not list(run.rglob("*.tmp"))
    assert (run / "checkpoints" / "episode_00001.pt").read_bytes() == before
    assert len(metrics_but_timing(run)) == 2
    assert command("resume", str(run)).status == 0
    assert len(metrics_but_timing(run)) == 3
