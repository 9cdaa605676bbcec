"""Byte sequences for emulators, sane and mad, and what must hold whatever they are."""

import math

from emulated_arms import JOINTS, Bench
from hypothesis import strategies as st

from hardware.wire import dynamixel, feetech
from hardware.wire.tables import control_table

MODELS = ("xl330-m288", "sts3215")
_EVENTS_AT_MOST = 20_000


def packets(model):
    """Well-formed packets: any instruction, any servo, any parameters; most of them at registers that exist."""
    codec = dynamixel if model == "xl330-m288" else feetech
    addresses = st.sampled_from([register.address for register in control_table(model).registers.values()])
    identifiers = st.sampled_from([1, 2, 3, 77, codec.BROADCAST])
    instructions = st.one_of(st.sampled_from([int(code) for code in codec.Instruction]), st.integers(0, 255))
    data = st.binary(max_size=24)
    word = 2 if codec is dynamixel else 1

    def at_register(address, rest):
        return address.to_bytes(word, "little") + rest

    parameters = st.one_of(data, st.builds(at_register, addresses, data))
    return st.builds(codec.build, identifiers, instructions, parameters)


def damaged(good):
    """Packets with a byte changed, or cut short."""

    def change(packet, at, bits):
        at %= len(packet)
        return packet[:at] + bytes([packet[at] ^ bits]) + packet[at + 1 :]

    changed = st.builds(change, good, st.integers(0, 300), st.integers(1, 255))
    cut = st.builds(lambda packet, at: packet[: at % len(packet)], good, st.integers(0, 300))
    return st.one_of(changed, cut)


def sequences(model):
    """What a host may send, in pieces with pauses between them, s."""
    good = packets(model)
    padded = st.builds(lambda noise, packet: noise + packet, st.binary(min_size=1, max_size=5), good)
    piece = st.one_of(good, damaged(good), padded, st.binary(max_size=40))
    return st.lists(st.tuples(piece, st.sampled_from([0.0, 0.0002, 0.003, 0.06])), min_size=1, max_size=4)


class Victim:
    """An emulated arm that takes one sequence after the other."""

    def __init__(self, model):
        self._model = model
        self.bench = Bench(model)
        self._parse = self.bench.codec.PacketParser

    def survive(self, sequence):
        """Send a sequence; fails if the emulator crashes, never falls silent, or lets noise into its EEPROM."""
        bench = self.bench
        before = self._eeprom()
        for data, pause in sequence:
            bench.port.write(data)
            bench.clock.advance(pause)
        events = 0
        while bench.arm.next_event() < math.inf:
            bench.port.read(bench.arm.next_event())
            events += 1
            assert events < _EVENTS_AT_MOST, "the bus never falls silent"
        whole = b"".join(data for data, _ in sequence)
        heard = self._parse().feed(whole) or any(self._parse().feed(data) for data, _ in sequence)
        if not heard:
            assert self._eeprom() == before, "noise was written to EEPROM"
        bench.arm.wire.drop()
        if bench.arm.servo(JOINTS[0]).id != 1 or bench.arm.servo(JOINTS[0]).baudrate != 1_000_000:
            self.bench = Bench(self._model)
        if not all(math.isfinite(position) for position in bench.arm.status(bench.clock.now()).position):
            raise AssertionError("the arm has flown apart")

    def _eeprom(self):
        return [self.bench.arm.servo(joint).memory.stored() for joint in JOINTS]
