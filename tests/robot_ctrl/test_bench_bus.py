"""The bus benchmark in virtual time, where its figures do not depend on the machine."""

import pytest

from hardware.robot_file import load_description
from robot_ctrl.benches.bus import ARMS, in_virtual_time


@pytest.mark.parametrize(("name", "wire"), [("so101", 1.12e-3), ("koch", 1.56e-3)])
def test_a_cycle_takes_little_more_than_its_bytes(name: str, wire: float) -> None:
    figures = in_virtual_time(load_description(name))
    assert name in ARMS
    assert figures.wire == pytest.approx(wire)
    assert figures.retries == 0
    assert 0.9 < figures.wire / figures.quantile(0.99) < 1.0
