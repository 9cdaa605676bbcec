"""The fault matrix on an injected clock; benchmarks/fault_matrix.py does the same in real time."""

from pathlib import Path

import pytest
from fault_cases import CASES
from fault_rig import Rig

from hardware.errors import RobotError


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
