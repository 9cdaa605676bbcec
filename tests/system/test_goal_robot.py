"""Goal pictures on an arm, over a servo bus and a network camera, in all processes: nothing is claimed about time."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import hardware.robots
from hardware.emulator import CameraStream, Emulator, emulate
from hardware.errors import RenderingUnavailableError, StoppedError
from hardware.fault_latch import FaultLatch
from hardware.robot_file import load_description
from hardware.stream import MjpegServer
from robot_ctrl.cli import main
from robot_ctrl.episodes import read_episode
from robot_ctrl.errors import RunError, UserError
from robot_ctrl.goal_robot import goal_on_robot
from robot_ctrl.tasks.arm_goal_image import CAMERA, ArmGoalImage

TINY = (
    "seed=1", "threads=1", "episodes=9", "learning.random_episodes=8", "learning.show_episodes=0",
    "task.episode_steps=10", "task.picture_size=16", "model.widths=[4, 8]", "model.latent_size=4", "model.heads=2",
    "model.hidden=[16]", "model.first_steps=10", "model.far_steps=5", "model.distance_steps=5", "model.policy_steps=5",
    "model.batch_size=16", "model.unroll=2", "planner.population=16", "planner.elites=4", "planner.horizon=4",
)  # fmt: skip
PATIENT = 30.0
POSE = [0.2, -0.5, 0.7, 0.6, 0.1, 0.3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = ArmGoalImage(picture_size=16)
    task.robot.connect()
    try:
        task.robot.get_observation()
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    folder = tmp_path_factory.mktemp("visual") / "run"
    assert main(["run", "arm-goal-image", *TINY, f"run_dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def arm() -> Iterator[Emulator]:
    with emulate(load_description("so101"), cameras=[CameraStream(CAMERA, 0, 64, 48)]) as emulator:
        yield emulator


def robot_file(folder: Path, arm: Emulator, *, source: str | None = None, name: str = CAMERA, width: int = 64) -> str:
    """The arm's file, with one camera, and patience with a machine that is busy with other tests."""
    tree = yaml.safe_load((Path(hardware.robots.__file__).parent / "so101.yaml").read_text())
    source = arm.camera_urls[0] if source is None else source
    camera = {"name": name, "source": source, "width": width, "height": 48, "max_age": PATIENT}
    path = folder / "arm.yaml"
    path.write_text(yaml.safe_dump(tree | {"port": arm.port, "patience": 0.2, "cameras": [camera]}))
    return str(path)


def test_a_pose_is_planned_to_over_the_wire_and_leaves_a_page(run: Path, arm: Emulator, tmp_path: Path) -> None:
    said = goal_on_robot(run, robot_file(tmp_path, arm), joints=POSE, stop_after=PATIENT, latch_folder=tmp_path)
    folder = max((run / "goals").iterdir())
    assert str(folder / "report.html") in said
    numbers = json.loads((folder / "goal.json").read_text())
    assert numbers["robot"] == "so101"
    assert numbers["plans_made"] > 0
    assert numbers["metres_end"] >= 0
    episode = read_episode(folder / "episode.mcap")
    assert len(episode.actions) == 10
    assert episode.observations[0].images[CAMERA].shape == (16, 16, 3)
    assert {"joint_position", CAMERA} & episode.observations[0].read_end.keys()
    assert (folder / "goal.mp4").stat().st_size > 1000
    assert "data:image/png" in (folder / "report.html").read_text()
    assert FaultLatch("so101", tmp_path).read() is None
    assert not any(arm.status().torque_on)


def test_a_goal_is_driven_to_by_keys_and_planned_back_to(run: Path, arm: Emulator, tmp_path: Path) -> None:
    typed = itertools.chain(["", "qqqq", "www", "\n"], itertools.repeat(""))
    goal_on_robot(
        run,
        robot_file(tmp_path, arm),
        capture=True,
        stop_after=PATIENT,
        latch_folder=tmp_path,
        keys=lambda: next(typed),
    )
    folder = max((run / "goals").iterdir())
    driven = read_episode(folder / "driven.mcap").observations
    numbers = json.loads((folder / "goal.json").read_text())
    moved = np.array(numbers["joints"]) - driven[0].values["joint_position"]
    assert moved[0] == pytest.approx(0.16, abs=0.03)
    assert moved[1] == pytest.approx(0.12, abs=0.04)
    start = read_episode(folder / "episode.mcap").observations[0].values["joint_position"]
    assert start == pytest.approx(driven[0].values["joint_position"], abs=0.05)


def when(there: Callable[[], bool], do: Callable[[], None]) -> None:
    def wait() -> None:
        for _ in range(1200):
            if there():
                time.sleep(0.3)
                do()
                return
            time.sleep(0.05)

    threading.Thread(target=wait, daemon=True).start()


def test_a_camera_that_is_unplugged_stops_the_arm(run: Path, arm: Emulator, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    server = MjpegServer(lambda: rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), rate=20)
    robot = robot_file(tmp_path, arm, source=server.url)
    before = len(list((run / "goals").glob("*")))
    when(lambda: len(list((run / "goals").glob("*/episode.mcap"))) > before, server.close)
    with pytest.raises(StoppedError, match=r"camera 'posture'.*no more pictures.*reset-fault"):
        goal_on_robot(run, robot, joints=POSE, stop_after=PATIENT, latch_folder=tmp_path)
    fault = FaultLatch("so101", tmp_path).read()
    assert fault is not None
    with pytest.raises(StoppedError, match="no more pictures"):
        goal_on_robot(run, robot, joints=POSE, latch_folder=tmp_path)


def test_what_does_not_fit_is_refused_before_anything_moves(run: Path, arm: Emulator, tmp_path: Path) -> None:
    def refused(match: str, robot: str, **goal: object) -> None:
        with pytest.raises((RunError, UserError), match=match):
            goal_on_robot(run, robot, latch_folder=tmp_path, **({"joints": POSE} | goal))  # type: ignore[arg-type]

    refused("has no camera", "so101")
    other = robot_file(tmp_path, arm, name="front")
    refused("trained for a camera called 'posture', and so101 has front.*--camera", other)
    refused("unknown camera 'side'", other, camera="side")
    fitting = robot_file(tmp_path, arm)
    refused("is no pose of the arm", fitting, joints=[9.0] * 6)
    refused("give one of", fitting, joints=None)
    refused("not a terminal", fitting, joints=None, capture=True)
    cv2.imwrite(str(tmp_path / "tall.png"), np.zeros((64, 16, 3), np.uint8))
    refused("16x64 pixels.*16x16 or 64x48", fitting, joints=None, image=tmp_path / "tall.png")
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    refused("does not look like anything", fitting, joints=None, image=tmp_path / "noise.png")
