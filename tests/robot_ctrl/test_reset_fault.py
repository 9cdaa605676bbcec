"""Resetting a latched fault, with the arm emulated in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import robot_ctrl.reset_fault
from hardware.clock import Clock, VirtualClock
from hardware.emulator import emulate_in_memory
from hardware.emulator.faults import Fault
from hardware.errors import RobotError
from hardware.fault_latch import FaultLatch
from hardware.robot import Robot
from hardware.robot_file import load_description
from robot_ctrl.realtime.sources import DescribedArm
from robot_ctrl.reset_fault import reset_fault


@dataclass(frozen=True)
class Emulated(DescribedArm):
    clock: Any = None

    def open(self, clock: Clock) -> Robot:
        return super().open(self.clock)


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Any:
    clock, description = VirtualClock(), load_description("so101")
    port: Any = emulate_in_memory(description, clock)
    monkeypatch.setattr(robot_ctrl.reset_fault, "described", lambda robot, given: Emulated(description, port, clock))
    port.close = lambda: None
    return port.arm


def test_a_fault_whose_cause_is_gone_is_forgotten(arm: Any, tmp_path: Path) -> None:
    FaultLatch("so101", tmp_path).latch("the planner died")
    assert "the planner died" in reset_fault("so101", latch_folder=tmp_path)
    assert FaultLatch("so101", tmp_path).read() is None
    assert "no latched fault" in reset_fault("so101", latch_folder=tmp_path)


def test_while_a_servo_is_silent_the_fault_stays(arm: Any, tmp_path: Path) -> None:
    FaultLatch("so101", tmp_path).latch("elbow_flex did not answer")
    arm.inject(Fault.parse("missing-id:elbow_flex"), 0.0)
    with pytest.raises(RobotError, match="elbow_flex") as refusal:
        reset_fault("so101", latch_folder=tmp_path)
    assert "stays latched" in refusal.value.__notes__[0]
    assert FaultLatch("so101", tmp_path).read() is not None
