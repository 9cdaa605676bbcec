from pathlib import Path

import pytest

from hardware.errors import RobotError
from hardware.fault_latch import FaultLatch, state_folder


def nothing_wrong() -> None:
    pass


def still_hot() -> None:
    raise RobotError("elbow_flex is at 71 °C, and 70 °C is the limit; let it cool down")


def test_a_fault_outlives_the_process_and_the_first_one_stays(tmp_path: Path) -> None:
    FaultLatch("so101", tmp_path).latch("elbow_flex is overloaded")
    FaultLatch("so101", tmp_path).latch("and then the planner died")
    fault = FaultLatch("so101", tmp_path).read()
    assert fault is not None
    assert fault.reason == "elbow_flex is overloaded"
    assert FaultLatch("koch", tmp_path).read() is None


def test_it_is_cleared_only_when_the_cause_is_gone(tmp_path: Path) -> None:
    latch = FaultLatch("so101", tmp_path)
    latch.latch("elbow_flex is too hot")
    with pytest.raises(RobotError, match="71 °C") as refusal:
        latch.clear(still_hot)
    assert "stays latched: elbow_flex is too hot" in refusal.value.__notes__[0]
    assert latch.read() is not None
    cleared = latch.clear(nothing_wrong)
    assert cleared is not None
    assert latch.read() is None
    assert latch.clear(still_hot) is None


def test_a_file_that_cannot_be_read_counts_as_a_fault(tmp_path: Path) -> None:
    latch = FaultLatch("so101", tmp_path)
    latch.latch("whatever")
    latch.path.write_text("{")
    fault = latch.read()
    assert fault is not None
    assert "cannot be read" in fault.reason
    latch.clear(nothing_wrong)
    assert latch.read() is None


def test_names_make_safe_file_names(tmp_path: Path) -> None:
    latch = FaultLatch("/dev/serial/by-id/usb-1a86", tmp_path)
    latch.latch("x")
    assert latch.path.parent == tmp_path


def test_faults_are_kept_where_the_system_keeps_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "robot-ctrl"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == Path.home() / ".local" / "state" / "robot-ctrl"
