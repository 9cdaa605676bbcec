"""The command line as its users meet it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import POINT_MASS, start

from robot_ctrl import __version__
from robot_ctrl.cli import main
from robot_ctrl.tasks import TASKS, task_class

HEAVY = ("torch", "mujoco", "dm_control", "gymnasium", "matplotlib", "cv2", "av")


def imported(code: str) -> set[str]:
    """Which of the heavy packages a fresh process imports for it."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
    script += f"print('imported:', *(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("imported:")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["list"]], ids=" ".join)
def test_asking_for_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(f"from robot_ctrl.cli import main; main({arguments!r})") == set()


@pytest.mark.parametrize(
    ("package", "allowed"), [("hardware", set()), ("planners", set()), ("models", {"torch"}), ("robot_ctrl", set())]
)
def test_importing_a_package_starts_no_simulator(package: str, allowed: set[str]) -> None:
    assert imported(f"import {package}") <= allowed


def test_everything_there_is_is_listed_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for name in TASKS:
        documented = (task_class(name).__doc__ or "").partition("\n")[0]
        assert documented
        assert f"  {name:<18} {documented}\n" in said
    for name in ("so101", "ensemble", "icem", "mppi", "dmc:domain-task", "gym:EnvId"):
        (line,) = [line for line in said.splitlines() if line.split()[:1] == [name]]
        assert len(line.split()) > 3


def test_a_command_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["run"], ["evaluate", "x", "--episodes", "0"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
    assert "0 must be 1 or more" in capsys.readouterr().err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "robot_ctrl", "--help"], capture_output=True, text=True, check=True)
    assert "usage: robot-ctrl" in done.stdout


def test_a_run_tells_one_line_per_episode(tmp_path: Path) -> None:
    ended = start(tmp_path / "run", "episodes=3")
    lines = [line for line in ended.text.splitlines() if "env steps" in line]
    assert ended.status == 0
    assert len(lines) == 3
    assert f"{POINT_MASS} → {tmp_path / 'run'}" in ended.text
    assert f"the report is {tmp_path / 'run' / 'report.html'}" in ended.text


def test_an_evaluation_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path / "run", "episodes=2").status == 0
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "3"]) == 0
    said = capsys.readouterr().out
    assert "of 3 (95 % interval" in said
    assert "return: median" in said


def test_a_recording_that_was_cut_off_is_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path / "run", "episodes=1").status == 0
    episode = tmp_path / "run" / "episodes" / "episode_00000.mcap"
    assert main(["recover", str(episode)]) == 0
    assert "was whole" in capsys.readouterr().out
    episode.write_bytes(episode.read_bytes()[:-20])
    assert main(["recover", str(episode)]) == 0
    assert "is mended; the original is" in capsys.readouterr().out
    assert main(["recover", str(tmp_path / "nothing.mcap")]) == 1
    assert "nothing.mcap" in capsys.readouterr().err
