"""A run deployed in real time, in all its processes, on a simulated arm: no assertion is about time."""

import csv
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardware.emulator import emulate
from hardware.errors import StoppedError
from hardware.fault_latch import FaultLatch
from hardware.robot_file import load_description
from robot_ctrl.build import resolve
from robot_ctrl.deploy import deploy
from robot_ctrl.episodes import read_episode
from robot_ctrl.errors import Interrupted, RunError
from robot_ctrl.realtime.sources import DescribedArm, SimulatedArm
from robot_ctrl.run import start

TINY = (
    "threads=1",
    "episodes=2",
    "learning.random_episodes=1",
    "learning.show_episodes=0",
    "task.episode_steps=12",
    "model.hidden=[16]",
    "model.members=2",
    "model.particles=2",
    "model.first_steps=20",
    "model.refit_steps=10",
    "planner.population=8",
    "planner.elites=3",
    "planner.iterations=1",
)
PATIENT = 30.0
PATIENT_ARM = load_description("so101").model_copy(update={"patience": 0.2, "control_rate": 40.0})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reach"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robot_ctrl.run.show", lambda config, folder, *parts: folder.report)
        start(resolve("arm-reach", [*TINY, f"run_dir={folder}"]))
    return folder


def test_episodes_on_the_arm_are_recorded_learned_from_and_continued(run: Path, tmp_path: Path) -> None:
    said = deploy(run, SimulatedArm(), episodes=2, stop_after=PATIENT, latch_folder=tmp_path, name="desk")
    assert "2 episodes on simulated-so101" in said
    folder = run / "deployments" / "desk"
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["episode"] for row in rows] == ["0", "1"]
    for row in rows:
        for column in ("plan_ms_p50", "jitter_ms_p99", "plan_age_ms_p95", "state_age_ms_p95", "missed_deadlines"):
            assert float(row[column]) >= 0
    assert rows[-1]["one_step_error"]
    assert list((folder / "checkpoints").glob("*.pt"))
    episode = read_episode(folder / "episodes" / "episode_00000.mcap")
    assert episode.outcome == "finished"
    assert len(episode.actions) == 12
    assert episode.plans
    target = episode.observations[0].values["target"]
    assert all((seen.values["target"] == target).all() for seen in episode.observations)
    assert FaultLatch("simulated-so101", tmp_path).read() is None


def when_recording(folder: Path, do: Callable[[], None]) -> threading.Thread:
    """Do something once an episode is being recorded."""

    def wait() -> None:
        import time

        for _ in range(600):
            if any(folder.glob("episodes/*.mcap")):
                time.sleep(0.3)
                do()
                return
            time.sleep(0.1)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_signal_ends_a_deployment_in_order(run: Path, tmp_path: Path) -> None:
    folder = run / "deployments" / "interrupted"
    thread = when_recording(folder, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        deploy(run, SimulatedArm(), episodes=50, stop_after=PATIENT, latch_folder=tmp_path, name="interrupted")
    thread.join(10)
    last = sorted(folder.glob("episodes/*.mcap"))[-1]
    assert read_episode(last).outcome in ("interrupted", "finished")
    assert FaultLatch("simulated-so101", tmp_path).read() is None


def test_a_latched_fault_keeps_every_deployment_out(run: Path, tmp_path: Path) -> None:
    FaultLatch("simulated-so101", tmp_path).latch("elbow_flex is too hot")
    with pytest.raises(StoppedError, match=r"elbow_flex is too hot.*reset-fault"):
        deploy(run, SimulatedArm(), latch_folder=tmp_path)


@pytest.mark.parametrize("dies", ["control", "planner", "recorder"])
def test_whoever_dies_the_arm_stands_and_a_fault_is_latched(dies: str, run: Path, tmp_path: Path) -> None:
    folder = run / "deployments" / f"without {dies}"

    def kill() -> None:
        for process in multiprocessing.active_children():
            if process.name == f"robot-ctrl {dies}" and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)

    thread = when_recording(folder, kill)
    with emulate(load_description("so101")) as arm:
        source = DescribedArm(PATIENT_ARM.model_copy(update={"safe_policy": "hold"}), arm.port)
        with pytest.raises(StoppedError, match="reset-fault"):
            deploy(run, source, episodes=50, learn=False, latch_folder=tmp_path, name=folder.name)
        thread.join(10)
        assert np.abs(arm.status().velocity).max() < 0.05
        assert all(arm.status().torque_on), "the arm holds itself"
    assert FaultLatch("so101", tmp_path).read() is not None
    with pytest.raises(StoppedError, match="reset-fault"):
        deploy(run, source, latch_folder=tmp_path)


def test_a_run_for_other_joints_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Deploy a run that was trained for this robot"):
        deploy(run, "viperx", port="/dev/null", latch_folder=tmp_path)


def test_a_run_for_an_arm_of_other_lengths_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"koch: its gripper_tip is 0\.\d+ m from"):
        deploy(run, "koch", port="/dev/null", latch_folder=tmp_path)


def test_the_same_run_is_deployed_over_the_wire(run: Path, tmp_path: Path) -> None:
    with emulate(load_description("so101")) as arm:
        source = DescribedArm(PATIENT_ARM, arm.port)
        said = deploy(run, source, episodes=1, learn=False, stop_after=PATIENT, latch_folder=tmp_path, name="wire")
        assert "1 episode on so101" in said
        assert not any(arm.status().torque_on)
    episode = read_episode(run / "deployments" / "wire" / "episodes" / "episode_00000.mcap")
    assert episode.outcome == "finished"
    assert len(episode.actions) == 12
    assert len(episode.observations[0].values["temperature"]) == 6
    assert FaultLatch("so101", tmp_path).read() is None
