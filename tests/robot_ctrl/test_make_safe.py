"""What the supervisor does with an arm that it takes over."""

from pathlib import Path

import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.emulator import PlantOptions, emulate_in_memory
from hardware.emulator.faults import Fault
from hardware.emulator.memory_port import MemoryPort
from hardware.errors import BusError, ServoFaultError
from hardware.robot_file import load_description
from robot_ctrl.realtime.make_safe import make_safe
from robot_ctrl.realtime.sources import DescribedArm


class Line(MemoryPort):
    """A line that can be opened again, as a serial port can."""

    def close(self) -> None:
        """Stay open."""


class Arm:
    """An emulated arm whose torque is on, left behind by a control process that died."""

    def __init__(self, policy: str, name: str = "so101") -> None:
        self.clock = VirtualClock()
        description = load_description(name).model_copy(update={"safe_policy": policy})
        joints = [joint.name for joint in description.joints]
        start = {joints[0]: 0.3, joints[1]: -0.65, joints[2]: 0.75, joints[-3]: 0.4}
        port = emulate_in_memory(description, self.clock, plant=PlantOptions(start=start))
        self.emulated = port.arm
        self.source = DescribedArm(description, Line(port.arm, self.clock))  # type: ignore[arg-type]
        robot = self.source.open(self.clock)
        robot.connect()
        assert all(self.torque())

    def torque(self) -> tuple[bool, ...]:
        return tuple(self.emulated.status(self.clock.now()).torque_on)

    def make_safe(self) -> None:
        make_safe(self.source, self.clock, "control died", 0.5)


@pytest.mark.parametrize(("policy", "on"), [("hold", True), ("torque_off", False)])
def test_the_policy_is_applied_to_every_servo(policy: str, on: bool) -> None:
    arm = Arm(policy)
    arm.make_safe()
    assert arm.torque() == (on,) * 6


def test_a_servo_that_is_silent_does_not_keep_the_torque_of_the_others_on() -> None:
    arm = Arm("torque_off")
    arm.emulated.inject(Fault("missing-id", "wrist_roll"), arm.clock.now())
    with pytest.raises(ServoFaultError, match="wrist_roll"):
        arm.make_safe()
    assert arm.torque() == (False, False, False, False, True, False)


def test_where_the_arm_is_to_hold_a_silent_servo_cuts_nothing() -> None:
    arm = Arm("hold")
    arm.emulated.inject(Fault("missing-id", "wrist_roll"), arm.clock.now())
    with pytest.raises(BusError, match="wrist_roll"):
        arm.make_safe()
    assert arm.torque() == (True,) * 6


def test_an_arm_that_connects_in_no_other_way_is_switched_off_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    arm = Arm("torque_off")
    wrong = arm.source.description.model_copy(update={"calibration": str(Path("no-such-calibration.yaml"))})
    arm.source = DescribedArm(wrong, arm.source.port)
    arm.make_safe()
    assert not np.any(arm.torque())
    assert "no-such-calibration" in caplog.text


@pytest.mark.parametrize("name", ["so101", "koch", "viperx"])
def test_a_parked_arm_stays_where_it_is_when_its_torque_is_cut(name: str) -> None:
    arm = Arm("park", name)
    arm.make_safe()
    assert not any(arm.torque())
    parked = np.array(arm.emulated.status(arm.clock.now()).position)
    assert np.abs(parked - arm.source.description.park_pose).max() < 0.05
    for _ in range(30):
        arm.clock.advance(0.1)
        position = np.array(arm.emulated.status(arm.clock.now()).position)
        assert np.abs(position - parked).max() < 0.05
