"""The fault matrix on an injected clock; benchmarks/fault_matrix.py does the same in real time."""

from pathlib import Path
from typing import Any

import pytest
from fault_cases import CASES
from fault_rig import Rig

from hardware.clock import Clock
from hardware.errors import RobotError
from hardware.robot import Robot
from hardware.robot_file import load_description
from hardware.safety import SafetyFilter
from robot_ctrl.realtime.sources import DescribedArm


@pytest.mark.parametrize("name", CASES)
def test_every_fault_ends_as_it_must(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    rig = Rig(tmp_path)
    rig.start()
    since = rig.clock.now()
    try:
        case.strike(rig)
        outcome = rig.outcome(since, case.patience)
    finally:
        rig.undo()
    assert (outcome.seconds is None) == (case.ends == "rides"), outcome
    assert outcome.stopped == (case.ends == "stops"), outcome
    assert (outcome.latched is not None) == outcome.stopped
    if outcome.seconds is not None:
        assert outcome.seconds <= case.within
        assert outcome.moved == 0
    if outcome.stopped:
        assert case.says in outcome.message
        assert outcome.episode.outcome == "fault"
        assert outcome.episode.events[-1].kind == "fault"
    assert outcome.episode.observations


def test_a_slow_start_does_not_trip_the_servos_watchdogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = DescribedArm.filter

    def slowly(arm: DescribedArm, robot: Robot, clock: Clock, *arguments: Any) -> SafetyFilter:
        clock.sleep_until(clock.now() + 1.0)
        return make(arm, robot, clock, *arguments)

    monkeypatch.setattr(DescribedArm, "filter", slowly)
    description = load_description("koch")
    assert description.bus_watchdog is not None
    assert description.bus_watchdog < 1.0
    rig = Rig(tmp_path, description=description)
    rig.run_for(0.5)
    assert rig.control.fault is None


def test_there_are_at_least_45_of_them() -> None:
    assert len(CASES) >= 45


def test_a_fault_cannot_be_reset_while_it_persists(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.start()
    since = rig.clock.now()
    rig.inject("missing-id:elbow_flex")
    rig.outcome(since)

    def check() -> None:
        rig.robot.clear_fault()
        rig.robot.get_observation()

    with pytest.raises(RobotError):
        rig.server.latch.clear(check)
    assert rig.server.latch.read() is not None
    rig.port.arm.clear("missing-id", rig.clock.now())
    rig.server.latch.clear(check)
    assert rig.server.latch.read() is None
