"""The Feetech bus on a scripted line: signs, locked EEPROM, error masks, and echoes that look like answers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_port import ScriptedPort
from servo_peers import Memory, feetech_peer, in_turn
from spoiled_line import SPOILS, check_spoiled

from hardware.clock import VirtualClock
from hardware.errors import BusError
from hardware.feetech_bus import FeetechBus
from hardware.servo_bus import Identity
from hardware.wire import feetech
from hardware.wire.tables import control_table


class Bench:
    """Three STS3215 on a line."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.servos = {servo: Memory("sts3215", servo) for servo in (1, 2, 3)}
        self.peer = feetech_peer(self.servos)
        self.port = ScriptedPort(self.clock, lambda request: in_turn(self.peer(request), request))
        self.bus = FeetechBus(self.port, dict.fromkeys(self.servos, control_table("sts3215")), self.clock)

    def written(self) -> list[tuple[int, int]]:
        """(address, first byte) of every write so far."""
        packets = [feetech.PacketParser().feed(request)[0] for request in self.port.requests]
        return [(p.parameters[0], p.parameters[1]) for p in packets if p.code == feetech.Instruction.WRITE]


def test_servos_say_what_they_are() -> None:
    bench = Bench()
    assert bench.bus.ping(3) == Identity(777, "3.6")
    assert set(bench.bus.scan(range(6))) == {1, 2, 3}


def test_values_cross_the_bus_in_si_units_and_with_signs() -> None:
    bench = Bench()
    bench.servos[1].set("present_velocity", -652)
    bench.servos[1].set("present_load", -300)
    plan = bench.bus.plan_read({1: ("present_position", "present_velocity", "present_load")})
    ((position, velocity, load),) = bench.bus.sync_read(plan)
    assert position == 0.0
    assert velocity == pytest.approx(-1.0, abs=1e-3)
    assert load == pytest.approx(-0.3)
    bench.bus.sync_write("goal_position", {1: math.pi / 2, 2: -math.pi / 2})
    assert [bench.servos[servo].get("goal_position") for servo in (1, 2)] == [3072, 1024]


def test_eeprom_is_unlocked_for_a_write_and_locked_again() -> None:
    bench = Bench()
    assert bench.bus.ensure(2, "homing_offset", -5)
    lock, offset = (control_table("sts3215")[name].address for name in ("lock", "homing_offset"))
    assert bench.written() == [(lock, 0), (offset, 5), (lock, 1)]
    bench.port.requests.clear()
    assert bench.bus.ensure(2, "torque_limit", 500)
    assert [address for address, _ in bench.written()] == [control_table("sts3215")["torque_limit"].address]


def test_every_reply_updates_the_error_mask() -> None:
    bench = Bench()
    bench.servos[2].error = 0x24
    bench.bus.sync_read(bench.bus.plan_read(dict.fromkeys(bench.servos, ("present_position",))))
    assert bench.bus.errors == {1: 0, 2: 0x24, 3: 0}
    bench.servos[2].error = 0
    bench.bus.write_count(2, "torque_enable", 0)
    assert bench.bus.errors[2] == 0


@pytest.mark.parametrize("silent", [True, False])
def test_an_echo_that_looks_like_an_answer_is_not_one(silent: bool) -> None:
    bench = Bench()
    rightly = bench.peer
    bench.peer = lambda request: [request] if silent else [request, *rightly(request)]
    address = control_table("sts3215")["present_position"].address
    assert len(feetech.read(1, address, 2)) == len(feetech.build(1, 2, bytes([address, 2]))), "the two look alike"
    if silent:
        with pytest.raises(BusError, match="servo 1 did not answer 3 times"):
            bench.bus.read_count(1, "present_position")
        assert bench.bus.scan([1]) == {}
    else:
        assert bench.bus.read_count(1, "present_position") == 2048
        assert bench.bus.errors[1] == 0


def test_a_servo_with_anothers_identifier_in_its_memory_is_not_believed() -> None:
    bench = Bench()
    bench.servos[1].set("id", 2)
    with pytest.raises(BusError, match="impossible answer to who it is"):
        bench.bus.ping(1)


def test_a_servo_recovers_by_letting_go() -> None:
    bench = Bench()
    bench.servos[1].set("torque_enable", 1)
    bench.bus.errors[1] = 0x20
    bench.bus.recover(1)
    assert bench.servos[1].get("torque_enable") == 0
    assert bench.bus.errors[1] == 0


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(what=st.lists(st.sampled_from(SPOILS), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_whatever_comes_is_the_right_value_or_an_error(what: list[str], seed: int) -> None:
    values, _ = check_spoiled("feetech", what, seed)
    assert values > 0 or len(what) > 3
