"""The Dynamixel bus on a scripted line: units, errors that are never dropped, and replies that cannot be mistaken."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_port import ScriptedPort
from servo_peers import Memory, dynamixel_peer, in_turn
from spoiled_line import SPOILS, check_spoiled

from hardware.clock import VirtualClock
from hardware.dynamixel_bus import DynamixelBus
from hardware.errors import BusError, ConnectionLostError, ServoFaultError
from hardware.servo_bus import Identity
from hardware.wire import dynamixel
from hardware.wire.dynamixel import Instruction
from hardware.wire.tables import control_table

NAMES = {1: "shoulder", 2: "elbow", 3: "wrist"}


class Bench:
    """Three servos on a line, the first an XL430, the others XL330."""

    def __init__(self, *, fast: bool = True) -> None:
        self.clock = VirtualClock()
        self.servos = {1: Memory("xl430-w250", 1), 2: Memory("xl330-m288", 2), 3: Memory("xl330-m288", 3)}
        self.peer = dynamixel_peer(self.servos, fast=fast)
        self.port = ScriptedPort(self.clock, lambda request: in_turn(self.peer(request), request))
        tables = {servo: control_table(memory.model) for servo, memory in self.servos.items()}
        self.bus = DynamixelBus(self.port, tables, self.clock, names=NAMES)

    def sent(self) -> list[int]:
        return [dynamixel.PacketParser().feed(request)[0].instruction for request in self.port.requests]


def test_servos_say_what_they_are() -> None:
    bench = Bench()
    assert bench.bus.ping(2) == Identity(1200, "48")
    assert bench.bus.scan([0, 1, 3, 7]) == {1: Identity(1060, "48"), 3: Identity(1200, "48")}


def test_values_cross_the_bus_in_si_units() -> None:
    bench = Bench()
    bench.bus.write(1, "goal_position", math.pi / 2)
    assert bench.servos[1].get("goal_position") == 3072
    bench.servos[2].set("present_current", -120)
    assert bench.bus.read(2, "present_current") == pytest.approx(-0.120)
    bench.bus.sync_write("goal_position", {1: 0.0, 2: -math.pi / 2, 3: math.pi / 4})
    assert [memory.get("goal_position") for memory in bench.servos.values()] == [2048, 1024, 2560]


def test_one_sync_read_covers_models_that_differ_in_meaning() -> None:
    bench = Bench()
    bench.servos[1].set("present_load", 250)
    bench.servos[2].set("present_current", 250)
    bench.servos[3].set("present_position", 1024)
    motion = ("present_position", "present_velocity")
    plan = bench.bus.plan_read(
        {1: (*motion, "present_load"), 2: (*motion, "present_current"), 3: (*motion, "present_current")}
    )
    rows = bench.bus.sync_read(plan)
    assert [row[2] for row in rows] == pytest.approx([0.25, 0.25, 0.0])
    assert rows[2][0] == pytest.approx(-math.pi / 2, abs=1e-3)
    assert bench.sent() == [Instruction.FAST_SYNC_READ]
    with pytest.raises(ValueError, match="one block of registers"):
        bench.bus.plan_read({1: ("present_position",), 2: ("present_velocity",)})


def test_old_firmware_gets_plain_sync_reads() -> None:
    bench = Bench(fast=False)
    plan = bench.bus.plan_read(dict.fromkeys(bench.servos, ("present_position",)))
    for _ in range(5):
        assert len(bench.bus.sync_read(plan)) == 3
    assert bench.sent().count(Instruction.FAST_SYNC_READ) == 3, "it is given up after three failures"
    assert bench.bus.counters.retries == 3


def test_a_refusal_names_servo_joint_value_and_reason() -> None:
    bench = Bench()
    bench.servos[2].result = 4
    with pytest.raises(
        ServoFaultError, match=r"elbow \(servo 2\) refused writing 1.5708 rad to goal_position: .* range"
    ):
        bench.bus.write(2, "goal_position", math.pi / 2)
    with pytest.raises(ServoFaultError, match=r"elbow \(servo 2\) refused reading present_position"):
        bench.bus.read(2, "present_position")


def test_an_instruction_that_arrived_garbled_is_repeated() -> None:
    bench = Bench()
    answers = iter([dynamixel.build_status(1, 3), None])
    rightly = bench.peer
    bench.peer = lambda request: [garbled] if (garbled := next(answers, None)) else rightly(request)
    bench.bus.write(1, "led", 1)
    assert bench.servos[1].get("led") == 1
    assert bench.bus.counters.retries == 1


def test_an_alert_becomes_the_hardware_error_behind_it() -> None:
    bench = Bench()
    bench.servos[3].error = dynamixel.ALERT
    bench.servos[3].set("hardware_error_status", 0x20)
    plan = bench.bus.plan_read(dict.fromkeys(bench.servos, ("present_position",)))
    bench.bus.sync_read(plan)
    assert bench.bus.errors == {1: 0, 2: 0, 3: 0x20}
    bench.servos[3].error = 0
    bench.bus.sync_read(plan)
    assert bench.bus.errors[3] == 0


def test_a_silent_servo_is_named_within_a_bounded_time() -> None:
    bench = Bench()
    del bench.servos[2]
    plan = bench.bus.plan_read(dict.fromkeys((1, 2, 3), ("present_position",)))
    with pytest.raises(BusError, match=r"scripted at 1000000 baud: elbow \(servo 2\) did not answer 3 times"):
        bench.bus.sync_read(plan)
    assert bench.clock.now() < 0.06
    assert bench.bus.read_count(1, "led") == 0, "the others go on"


@pytest.mark.parametrize(("baudrate", "latency"), [(1_000_000, 0.001), (57_600, 0.001), (1_000_000, 0.016)])
def test_waiting_ends_when_the_reply_must_have_come(baudrate: int, latency: float) -> None:
    bench = Bench()
    bench.port.baudrate, bench.port.latency = baudrate, latency
    assert bench.bus.scan([9]) == {}
    on_wire = (2 * len(dynamixel.ping(9)) + 3 + 16) * 10 / baudrate
    assert bench.clock.now() == pytest.approx(on_wire + 254 * 2e-6 + latency + 0.005)


def test_a_late_reply_is_not_taken_for_the_next_one() -> None:
    bench = Bench()
    bench.servos[1].set("present_position", 1111)
    delays = iter([0.03])
    on_time = bench.peer

    def late_once(request: bytes) -> list[tuple[float, bytes]]:
        delay = next(delays, 0.0)
        return [(time + delay, frame) for time, frame in in_turn(on_time(request), request)]

    bench.port.peer = late_once
    seen = []
    for count in (1111, 2222, 3333):
        bench.servos[1].set("present_position", count)
        try:
            seen.append(bench.bus.read_count(1, "present_position"))
        except BusError:
            seen.append(-1)
    assert seen[1:] == [2222, 3333]
    assert seen[0] in (-1, 1111)


def test_bytes_that_wait_before_a_request_put_the_servo_in_doubt() -> None:
    bench = Bench()
    old = dynamixel.build_status(1, 0, (3333).to_bytes(4, "little"))
    rightly = bench.peer
    bench.peer = lambda request: [*rightly(request), old] if len(bench.port.requests) == 1 else rightly(request)
    bench.bus.read_count(1, "present_position")
    bench.clock.advance(0.01)
    assert bench.bus.read_count(1, "present_position") == 2048
    assert bench.sent() == [Instruction.READ] * 3, "it had to answer a new question before it was believed again"


def test_a_signal_in_the_middle_of_an_exchange_leaves_no_old_reply_behind() -> None:
    bench = Bench()
    bench.servos[1].set("present_position", 1111)
    read = bench.port.read
    signals = iter([None, KeyboardInterrupt()])

    def interrupted(deadline: float) -> bytes:
        if (signal := next(signals, None)) is not None:
            raise signal
        return read(deadline)

    bench.port.read = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.bus.read_count(1, "present_position")
    bench.servos[1].set("present_position", 2222)
    assert bench.bus.read_count(1, "present_position") == 2222


def test_an_echo_is_no_answer() -> None:
    bench = Bench()
    rightly = bench.peer
    bench.peer = lambda request: [request, *rightly(request)]
    assert bench.bus.ping(1) == Identity(1060, "48")
    assert bench.bus.read_count(1, "present_position") == 2048


def test_a_line_that_is_never_quiet_is_an_error() -> None:
    bench = Bench()
    bench.port.peer = lambda request: [(0.001 * step, b"\x55" * 50) for step in range(1000)]
    with pytest.raises(BusError, match="unplug the servos one by one"):
        bench.bus.ping(1)
    assert bench.clock.now() < 1.0


def test_a_lost_port_is_passed_on() -> None:
    bench = Bench()
    bench.port.gone = True
    with pytest.raises(ConnectionLostError):
        bench.bus.ping(1)
    bench.bus.close()
    assert bench.port.closed


def test_a_register_is_written_only_where_it_differs_and_read_back() -> None:
    bench = Bench()
    assert bench.bus.ensure(1, "return_delay_time", 0)
    assert not bench.bus.ensure(1, "return_delay_time", 0)
    assert bench.sent().count(Instruction.WRITE) == 1
    bench.peer = lambda request: [
        frame
        if dynamixel.PacketParser().feed(request)[0].instruction != Instruction.WRITE
        else dynamixel.build_status(1)
        for frame in dynamixel_peer({1: Memory("xl430-w250", 1)})(request)
    ]
    with pytest.raises(ServoFaultError, match=r"shoulder \(servo 1\): return_delay_time holds 250 after 0 was written"):
        bench.bus.ensure(1, "return_delay_time", 0)


def test_a_restart_that_never_ends_is_an_error() -> None:
    bench = Bench()
    rightly = bench.peer
    bench.peer = lambda request: rightly(request) if len(bench.port.requests) == 1 else []
    with pytest.raises(BusError, match="switch its power off and on"):
        bench.bus.recover(1)
    assert 3.0 <= bench.clock.now() < 3.2


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(what=st.lists(st.sampled_from(SPOILS), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_whatever_comes_is_the_right_value_or_an_error(what: list[str], seed: int) -> None:
    values, _ = check_spoiled("dynamixel", what, seed)
    assert values > 0 or len(what) > 3
