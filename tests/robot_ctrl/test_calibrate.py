from pathlib import Path

import numpy as np
import pytest

from hardware.calibration import load_calibration
from hardware.clock import VirtualClock
from hardware.emulator import MemoryPort, emulate_in_memory
from hardware.errors import CalibrationError
from hardware.robot_file import RobotDescription, load_description
from hardware.servo_arm import ServoArm
from robot_ctrl.calibrate import guide

ZERO, SHORT = 0.15, 0.02


class Person:
    """Does what the guide says to an emulated arm, whose zeros are all off by ZERO rad."""

    def __init__(self, port: MemoryPort, description: RobotDescription) -> None:
        self.port, self.description = port, description
        self.lines: list[str] = []
        self.joint = ""
        self.todo: list[tuple[float | None, str]] = []
        self.lazy: set[str] = set()
        self.gives_up_at: str | None = None

    def say(self, line: str) -> None:
        self.lines.append(line)
        limits = {joint.name: joint.limits.position for joint in self.description.joints}
        if "/" in line and line[0].isdigit():
            self.joint = line.split()[1]
        elif "Hold the arm" in line:
            self.todo = [(None, "\n")]
        elif "to its zero" in line:
            self.todo = [(ZERO, ""), (ZERO, ""), (ZERO, "\n")]
        elif "both of its ends" in line:
            low, high = (end + ZERO for end in limits[self.joint])
            if self.joint in self.lazy:
                self.lazy.remove(self.joint)
                low, high = ZERO - SHORT, ZERO + SHORT
            self.todo = [(low, ""), (low, ""), (high, ""), (high, ""), (high, "\n")]

    def keys(self) -> str:
        if self.joint == self.gives_up_at:
            raise KeyboardInterrupt
        pose, text = self.todo.pop(0)
        if pose is not None:
            data, model = self.port.arm.plant.data, self.port.arm.plant.model
            data.joint(self.joint).qpos = pose
            data.qvel[:] = 0
            assert model.joint(self.joint).id >= 0
        return text


def bench(name: str) -> tuple[RobotDescription, MemoryPort, VirtualClock, Person]:
    description, clock = load_description(name), VirtualClock()
    port = emulate_in_memory(description, clock)
    model = port.arm.plant.model
    model.jnt_limited[:] = 0
    model.opt.gravity[:] = 0
    model.geom_contype[:] = 0
    return description, port, clock, Person(port, description)


@pytest.mark.parametrize("name", ["so101", "koch", "viperx"])
def test_zeros_and_ranges_are_measured_and_kept_in_servos_and_file(name: str, tmp_path: Path) -> None:
    description, port, clock, person = bench(name)
    path = tmp_path / "arm.json"
    guide(description, port, path, person.keys, person.say, clock=clock)
    calibration = load_calibration(path)
    assert set(calibration.servos) == {servo for joint in description.joints for servo in joint.servo_ids}
    calibrated = description.model_copy(update={"calibration": str(path)})
    arm = ServoArm(calibrated, _reopened(port), clock)
    data = port.arm.plant.data
    pose = np.full(len(description.joints), 0.1)
    for joint, position in zip(description.joints, pose, strict=True):
        low, high = joint.limits.position
        data.joint(joint.name).qpos = ZERO + np.clip(position, low + 0.05, high - 0.05)
    arm.connect()
    expected = [np.clip(0.1, low + 0.05, high - 0.05) for low, high in (j.limits.position for j in description.joints)]
    assert arm.get_observation().values["joint_position"] == pytest.approx(expected, abs=0.01)


def _reopened(port: MemoryPort) -> MemoryPort:
    return MemoryPort(port.arm, port._clock)


def test_a_joint_that_was_not_moved_is_measured_again(tmp_path: Path) -> None:
    description, port, clock, person = bench("so101")
    person.lazy = {"elbow_flex"}
    guide(description, port, tmp_path / "arm.json", person.keys, person.say, clock=clock)
    assert sum("to its zero" in line for line in person.lines) == 7
    assert any("move the joint to both of its ends" in line for line in person.lines)


def test_what_is_measured_survives_and_only_the_rest_is_asked_for(tmp_path: Path) -> None:
    description, port, clock, person = bench("so101")
    path = tmp_path / "arm.json"
    person.gives_up_at = "wrist_flex"
    with pytest.raises(KeyboardInterrupt):
        guide(description, port, path, person.keys, person.say, clock=clock)
    assert set(load_calibration(path).servos) == {1, 2, 3}
    again = Person(_reopened(port), description)
    guide(description, again.port, path, again.keys, again.say, clock=clock)
    named = [line.split()[1] for line in again.lines if line[0].isdigit() and "/" in line]
    assert named == ["wrist_flex", "wrist_roll", "gripper"]
    done = Person(_reopened(port), description)
    guide(description, done.port, path, done.keys, done.say, clock=clock)
    assert "calibrated already" in done.lines[0]


def test_a_file_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    description, port, clock, person = bench("so101")
    (tmp_path / "taken").write_text("")
    with pytest.raises(CalibrationError, match="cannot be written"):
        guide(description, port, tmp_path / "taken" / "arm.json", person.keys, person.say, clock=clock)


def test_another_arms_file_is_not_overwritten(tmp_path: Path) -> None:
    description, port, clock, person = bench("so101")
    path = tmp_path / "arm.json"
    guide(description, port, path, person.keys, person.say, clock=clock)
    other, port, clock, person = bench("koch")
    with pytest.raises(CalibrationError, match="'so101', not of 'koch'"):
        guide(other, port, path, person.keys, person.say, clock=clock)
