"""DYNAMIXEL Protocol 2.0 packets: the manual's golden vectors, stuffing, and finding the way back after noise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.wire import dynamixel
from hardware.wire.dynamixel import BROADCAST, Instruction, Packet, PacketParser

INSTRUCTIONS = {
    "FFFFFD0001030001194E": dynamixel.ping(1),
    "FFFFFD00FE0300013142": dynamixel.ping(BROADCAST),
    "FFFFFD0001070002840004001D15": dynamixel.read(1, 132, 4),
    "FFFFFD0001090003740000020000CA89": dynamixel.write(1, 116, (512).to_bytes(4, "little")),
    "FFFFFD00010900046800C8000000AE8E": dynamixel.register_write(1, 104, (200).to_bytes(4, "little")),
    "FFFFFD000103000502CE": dynamixel.action(1),
    "FFFFFD000104000601A1E6": dynamixel.factory_reset(1, 0x01),
    "FFFFFD00010300082F4E": dynamixel.reboot(1),
    "FFFFFD00010800100144584C22B1DC": dynamixel.clear_turns(1),
    "FFFFFD00FE090082840004000102CEFA": dynamixel.sync_read(132, 4, [1, 2]),
    "FFFFFD00FE0A008A8400040003070420F2": dynamixel.sync_read(132, 4, [3, 7, 4], fast=True),
    "FFFFFD00FE11008374000400019600000002AA0000008287": dynamixel.sync_write(
        116, {1: (150).to_bytes(4, "little"), 2: (170).to_bytes(4, "little")}
    ),
    "FFFFFD00FE0D0092019000020002920001001A05": dynamixel.bulk_read({1: (144, 2), 2: (146, 1)}),
    "FFFFFD00FE10009301200002 00A000021F0001 0050B768": dynamixel.bulk_write({1: (32, b"\xa0\x00"), 2: (31, b"\x50")}),
}
STATUSES = {
    "FFFFFD000107005500060426655D": Packet(1, Instruction.STATUS, b"\x06\x04\x26"),
    "FFFFFD0002070055000604266F6D": Packet(2, Instruction.STATUS, b"\x06\x04\x26"),
    "FFFFFD000108005500A60000008CC0": Packet(1, Instruction.STATUS, (166).to_bytes(4, "little")),
    "FFFFFD0002080055001F080000BABE": Packet(2, Instruction.STATUS, (2079).to_bytes(4, "little")),
    "FFFFFD000104005500A10C": Packet(1, Instruction.STATUS),
    "FFFFFD0001060055007700C369": Packet(1, Instruction.STATUS, b"\x77\x00"),
    "FFFFFD000205005500248BA9": Packet(2, Instruction.STATUS, b"\x24"),
}
PARAMETERS = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x55, 0x01]) | st.integers(0, 255), max_size=60).map(bytes)


@pytest.mark.parametrize("vector", INSTRUCTIONS)
def test_instructions_are_those_of_the_manual(vector: str) -> None:
    assert INSTRUCTIONS[vector] == bytes.fromhex(vector)


@pytest.mark.parametrize("vector", STATUSES)
def test_replies_are_those_of_the_manual(vector: str) -> None:
    packet = STATUSES[vector]
    assert PacketParser().feed(bytes.fromhex(vector)) == [packet]
    assert dynamixel.build_status(packet.id, packet.error, packet.parameters) == bytes.fromhex(vector)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(servo=st.integers(0, 252), error=st.integers(0, 255), parameters=PARAMETERS, cut=st.integers(0, 80))
def test_a_reply_survives_any_content_and_any_cut(servo: int, error: int, parameters: bytes, cut: int) -> None:
    frame = dynamixel.build_status(servo, error, parameters)
    assert b"\xff\xff\xfd" not in frame[3:-2].replace(b"\xff\xff\xfd\xfd", b"")
    parser = PacketParser()
    packets = [*parser.feed(frame[:cut]), *parser.feed(frame[cut:])]
    assert packets == [Packet(servo, Instruction.STATUS, parameters, error)]
    assert parser.garbage == parser.pending == 0


@settings(max_examples=300, derandomize=True, deadline=None)
@given(noise=st.lists(st.sampled_from([0xFF, 0xFD, 0x00]) | st.integers(0, 255), max_size=40).map(bytes))
def test_a_packet_is_found_behind_any_noise(noise: bytes) -> None:
    frame = dynamixel.build_status(3, 0, b"\x01\x02\x03\x04")
    parser = PacketParser()
    packets = [packet for byte in noise + frame + frame for packet in parser.feed(bytes([byte]))]
    good = Packet(3, Instruction.STATUS, b"\x01\x02\x03\x04")
    assert packets[-1] == good, "the second is found even where the noise swallowed the first"
    assert parser.garbage + parser.pending + len(frame) * packets.count(good) >= len(noise)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(at=st.integers(0, 14), bit=st.integers(0, 7))
def test_no_flipped_bit_is_accepted_and_the_next_packet_is(at: int, bit: int) -> None:
    frame = bytearray(dynamixel.build_status(1, 0, (166).to_bytes(4, "little")))
    frame[at] ^= 1 << bit
    following = dynamixel.build_status(2, 0, b"\x05\x06\x07\x08")
    assert PacketParser().feed(bytes(frame) + following) == [Packet(2, Instruction.STATUS, b"\x05\x06\x07\x08")]


def test_a_packet_cut_short_does_not_swallow_the_next() -> None:
    frame = dynamixel.build_status(1, 0, b"\x01\x02\x03\x04")
    parser = PacketParser()
    assert parser.feed(frame[:-3] + frame) == [Packet(1, Instruction.STATUS, b"\x01\x02\x03\x04")]
    assert parser.garbage == len(frame) - 3


def test_the_common_reply_to_a_fast_sync_read() -> None:
    parts = [(3, 0, b"\xa6\x00\x00\x00"), (7, 0x80, b"\xff\xff\xfd\x00"), (4, 0, b"\x01\x02\x03\x04")]
    frame = dynamixel.build_fast_status(parts)
    assert int.from_bytes(frame[5:7], "little") == 25
    assert frame[14:16] == dynamixel.crc(frame[:14]).to_bytes(2, "little"), "each CRC covers all before it"
    (packet,) = PacketParser().feed(frame)
    assert packet.id == BROADCAST
    assert dynamixel.split_fast_status(packet, [4, 4, 4]) == [
        Packet(servo, Instruction.STATUS, data, error) for servo, error, data in parts
    ]
    with pytest.raises(ValueError, match="bytes came for"):
        dynamixel.split_fast_status(packet, [4, 4])


FAST_STATUSES = {
    "FFFFFD00FE190055 0003A60000008408 00071F08000016CA 0004FF030000D19E": {
        3: (166).to_bytes(4, "little"),
        7: (2079).to_bytes(4, "little"),
        4: (1023).to_bytes(4, "little"),
    },
    "FFFFFD00FE140055 0003A600000067A4 0007A5012474 00041FD9C1": {
        3: (166).to_bytes(4, "little"),
        7: (421).to_bytes(2, "little"),
        4: b"\x1f",
    },
}


@pytest.mark.parametrize("vector", FAST_STATUSES)
def test_replies_to_fast_reads_are_those_of_the_manual(vector: str) -> None:
    blocks = FAST_STATUSES[vector]
    assert dynamixel.build_fast_status((servo, 0, data) for servo, data in blocks.items()) == bytes.fromhex(vector)
    (packet,) = PacketParser().feed(bytes.fromhex(vector))
    replies = dynamixel.split_fast_status(packet, [len(data) for data in blocks.values()])
    assert {reply.id: reply.parameters for reply in replies} == blocks


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        dynamixel.ping(0xFF)
    with pytest.raises(ValueError, match="not an identifier"):
        dynamixel.ping(0xFD)
    with pytest.raises(ValueError, match="too long"):
        dynamixel.write(1, 0, bytes(2000))
    with pytest.raises(ValueError, match="same number of bytes"):
        dynamixel.sync_write(116, {1: b"\x00", 2: b"\x00\x00"})
