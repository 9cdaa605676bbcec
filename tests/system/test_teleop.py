"""Driving by hand over the servo buses, in all processes: nothing is claimed about time."""

import time
from pathlib import Path

import pytest
import yaml

import hardware.robots
from hardware.emulator import Emulator, emulate
from hardware.robot_file import load_description
from robot_ctrl.episodes import read_episode
from robot_ctrl.teleop import teleop


def robot_file(folder: Path, name: str, arm: Emulator) -> str:
    tree = yaml.safe_load((Path(hardware.robots.__file__).parent / "so101.yaml").read_text())
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree | {"name": name, "port": arm.port, "patience": 0.2}))
    return str(path)


def test_a_limp_arm_leads_another(tmp_path: Path) -> None:
    description = load_description("so101")
    with emulate(description) as leader, emulate(description) as follower:
        began = time.monotonic()
        asked: list[float] = []
        arrived: list[float] = []

        def typed() -> str:
            if not asked and any(follower.status().torque_on):
                leader.move("shoulder_pan", 0.4)
                asked.append(time.monotonic())
            if not asked or abs(follower.status().position[0] - 0.4) > 0.02:
                arrived.clear()
            else:
                arrived.append(time.monotonic())
            rests = arrived and arrived[-1] - arrived[0] > 0.5
            return "\n" if rests or time.monotonic() - began > 60 else ""

        said = teleop(
            robot_file(tmp_path, "follower", follower),
            leader=robot_file(tmp_path, "leader", leader),
            out=tmp_path / "out",
            latch_folder=tmp_path / "latch",
            keys=typed,
        )
        assert not any(leader.status().torque_on)
    episode = read_episode(tmp_path / "out" / "episode_00000.mcap")
    assert str(tmp_path / "out") in said
    pan = [float(seen.values["joint_position"][0]) for seen in episode.observations]
    assert pan[0] == pytest.approx(0.0, abs=0.01)
    assert pan[-1] == pytest.approx(0.4, abs=0.05)
    assert max(pan) < 0.45
    assert arrived[-1] - arrived[0] > 0.5
