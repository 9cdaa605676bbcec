"""Feetech STS packets: vectors from the protocol manual, sign and magnitude, and the way back after noise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.wire import feetech
from hardware.wire.feetech import BROADCAST, Packet, PacketParser

VECTORS = {
    "FFFF010201FB": feetech.ping(1),
    "FFFF0104023802BE": feetech.read(1, 0x38, 2),
    "FFFFFE04030501F4": feetech.write(BROADCAST, 0x05, b"\x01"),
    "FFFF0109032A000800 00E803D5": feetech.write(1, 0x2A, bytes.fromhex("00080000E803")),
    "FFFF0109042A00080000E803D4": feetech.register_write(1, 0x2A, bytes.fromhex("00080000E803")),
    "FFFFFE0205FA": feetech.action(),
}
PARAMETERS = st.lists(st.sampled_from([0xFF, 0x00, 0x02]) | st.integers(0, 255), max_size=60).map(bytes)


@pytest.mark.parametrize(("vector", "packet"), VECTORS.items())
def test_instructions_are_those_of_the_manual(vector: str, packet: bytes) -> None:
    assert packet == bytes.fromhex(vector)


def test_sync_read_and_sync_write_of_two_servos() -> None:
    assert feetech.sync_read(0x38, 8, [1, 2]) == feetech.build(BROADCAST, 0x82, bytes([0x38, 8, 1, 2]))
    frame = feetech.sync_write(0x2A, {1: b"\x00\x08", 2: b"\xff\x07"})
    assert frame == bytes.fromhex("FFFFFE0A832A020100 0802FF07") + bytes([feetech.checksum(frame[2:-1])])
    with pytest.raises(ValueError, match="same number of bytes"):
        feetech.sync_write(0x2A, {1: b"\x00", 2: b"\x00\x00"})


@pytest.mark.parametrize(
    ("value", "bit", "word"), [(-1, 15, 0x8001), (5, 15, 5), (-2047, 11, 0x0FFF), (-1000, 10, 0x7E8)]
)
def test_sign_and_magnitude(value: int, bit: int, word: int) -> None:
    assert feetech.to_sign_magnitude(value, bit) == word
    assert feetech.from_sign_magnitude(word, bit) == value


def test_a_magnitude_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        feetech.to_sign_magnitude(2048, 11)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(servo=st.integers(0, 253), code=st.integers(0, 255), parameters=PARAMETERS, cut=st.integers(0, 80))
def test_a_reply_survives_any_content_and_any_cut(servo: int, code: int, parameters: bytes, cut: int) -> None:
    frame = feetech.build(servo, code, parameters)
    parser = PacketParser()
    assert [*parser.feed(frame[:cut]), *parser.feed(frame[cut:])] == [Packet(servo, code, parameters)]
    assert parser.garbage == parser.pending == 0


@settings(max_examples=300, derandomize=True, deadline=None)
@given(at=st.integers(0, 7), bit=st.integers(0, 7))
def test_no_flipped_bit_is_accepted_as_that_servos_reply(at: int, bit: int) -> None:
    frame = bytearray(feetech.build(1, 0, b"\x12\x34"))
    frame[at] ^= 1 << bit
    packets = PacketParser().feed(bytes(frame))
    assert not any(packet.id == 1 and len(packet.parameters) == 2 for packet in packets)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(noise=st.lists(st.integers(0, 255), max_size=40).map(bytes))
def test_a_packet_is_found_behind_any_noise(noise: bytes) -> None:
    frame = feetech.build(1, 0, b"\x12\x34")
    parser = PacketParser()
    packets = [packet for byte in noise + frame * 40 for packet in parser.feed(bytes([byte]))]
    assert packets[-1] == Packet(1, 0, b"\x12\x34")


def test_a_header_of_many_ff_is_read_from_its_end() -> None:
    frame = feetech.build(1, 0, b"\x12\x34")
    parser = PacketParser()
    assert parser.feed(b"\xff\xff\xff" + frame) == [Packet(1, 0, b"\x12\x34")]
    assert parser.garbage == 3


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        feetech.ping(0xFF)
    with pytest.raises(ValueError, match="too long"):
        feetech.write(1, 0, bytes(300))
