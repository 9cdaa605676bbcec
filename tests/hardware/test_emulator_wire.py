import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import JOINTS, Bench, description

from hardware.clock import VirtualClock
from hardware.emulator import emulate_in_memory
from hardware.emulator.faults import Fault
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.errors import ConnectionLostError
from hardware.feetech_bus import FeetechBus
from hardware.wire import dynamixel, feetech
from hardware.wire.tables import control_table

BYTE = 10 / 1_000_000
USB = 125e-6


def exchange_time(bench, request):
    """From the first bit of a request to the last byte of its answer at the host, and how long the answer is."""
    start = bench.clock.now()
    answer = bench.bytes(request)
    return bench.clock.now() - start, len(answer)


def test_a_read_takes_its_wire_time_and_its_return_delay():
    bench = Bench("xl330-m288")
    request = dynamixel.read(1, 132, 4)
    took, size = exchange_time(bench, request)
    assert size == 15
    assert took == pytest.approx((len(request) + size) * BYTE + 500e-6, abs=2 * USB)
    bench.write(1, "return_delay_time", 0)
    took, _ = exchange_time(bench, request)
    assert took == pytest.approx((len(request) + size) * BYTE, abs=2 * USB)


def test_wire_time_goes_with_the_baud_rate():
    bench = Bench("xl330-m288", baudrate=57_600)
    request = dynamixel.ping(1)
    took, size = exchange_time(bench, request)
    assert took == pytest.approx((len(request) + size) * 10 / 57_600 + 500e-6, abs=3 * USB)


def test_six_servos_take_the_time_that_the_bytes_take():
    bench = Bench("xl330-m288")
    for servo in range(1, 7):
        bench.write(servo, "return_delay_time", 0)
    write = dynamixel.sync_write(116, {servo: (2048).to_bytes(4, "little") for servo in range(1, 7)})
    read = dynamixel.sync_read(126, 10, range(1, 7))
    start = bench.clock.now()
    bench.port.write(write)
    _, size = exchange_time(bench, read)
    assert len(write) + len(read) + size == 190
    assert bench.clock.now() - start == pytest.approx(1.90e-3, abs=2 * USB)


@pytest.mark.parametrize("latency", [0.001, 0.016])
def test_the_adapters_timer_keeps_a_short_answer_back(latency):
    bench = Bench(wire=WireOptions(latency=latency))
    request = feetech.read(1, 56, 2)
    took, size = exchange_time(bench, request)
    first = (len(request) + 1) * BYTE
    assert size == 8
    assert took == pytest.approx(first + latency, abs=1e-6)


def test_a_full_usb_packet_does_not_wait_for_the_timer():
    bench = Bench(wire=WireOptions(latency=0.016))
    bench.port.write(feetech.sync_read(56, 8, range(1, 7)))
    first = bench.port.read(1.0)
    assert len(first) == 62
    assert bench.clock.now() < 0.002
    assert len(bench.port.read(1.0)) == 6 * 14 - 62
    assert bench.clock.now() > 0.016


def test_requests_in_one_write_are_heard_one_after_the_other():
    bench = Bench("xl330-m288")
    answer = bench.ask(dynamixel.sync_write(65, {1: b"\1", 2: b"\1"}) + dynamixel.sync_read(65, 1, [1, 2]))
    assert [packet.parameters for packet in answer] == [b"\1", b"\1"]


def test_talking_into_an_answer_spoils_it():
    bench = Bench("xl330-m288")
    bench.port.write(dynamixel.read(1, 132, 40))
    bench.clock.advance(14 * BYTE + 500e-6 + 10 * BYTE)
    assert bench.ask(dynamixel.write(2, 65, b"\1")) == []
    assert bench.arm.wire.collisions == 1
    assert bench.read(2, "led") == 0


def test_an_unfinished_request_is_forgotten_after_a_silence():
    bench = Bench()
    bench.bytes(feetech.ping(1)[:4])
    bench.wait(0.1)
    assert [packet.id for packet in bench.ask(feetech.ping(2))] == [2]


def test_another_baud_rate_is_noise_to_a_servo():
    bench = Bench()
    bench.port.baudrate = 500_000
    assert bench.bytes(feetech.ping(1)) == b""


def test_an_echo_comes_before_the_answer():
    bench = Bench(wire=WireOptions(latency=0.0, echo=True))
    request = feetech.ping(1)
    assert bench.bytes(request) == request + bytes.fromhex("FFFF010200FC")


def test_an_answer_tells_of_the_moment_when_it_was_asked():
    bench = Bench()
    bench.write(1, "torque_enable", 1)
    bench.write(1, "goal_position", 2500)
    bench.port.write(feetech.read(1, 56, 2))
    bench.clock.advance(0.2)
    early = int.from_bytes(feetech.PacketParser().feed(bench.port.read(bench.clock.now()))[0].parameters, "little")
    assert early < 2060
    assert bench.read(1, "present_position") > 2300


def test_a_pulled_cable_is_an_error_at_the_port():
    bench = Bench()
    bench.arm.inject(Fault.parse("cable-pulled+2"), 0.0)
    with pytest.raises(ConnectionLostError, match="cable"):
        bench.port.write(feetech.ping(1))


def test_the_driver_meets_the_emulator_on_a_virtual_clock():
    clock = VirtualClock(50.0)
    port = emulate_in_memory(description(), clock, plant=PlantOptions(), wire=WireOptions(latency=0.0))
    bus = FeetechBus(port, dict.fromkeys(range(1, 7), control_table("sts3215")), clock)
    assert sorted(bus.scan(range(1, 9))) == [1, 2, 3, 4, 5, 6]
    plan = bus.plan_read({servo: ["present_position", "present_velocity"] for servo in range(1, 7)})
    start = clock.now()
    values = bus.sync_read(plan)
    assert clock.now() - start == pytest.approx((14 + 6 * 10) * BYTE, abs=2 * USB)
    assert values[2][0] == pytest.approx(0.75, abs=0.02)
    assert port.arm.joints == JOINTS
