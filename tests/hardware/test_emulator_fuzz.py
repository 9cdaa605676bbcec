import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from emulated_arms import JOINTS, Bench
from emulator_fuzz import MODELS, Victim, damaged, packets, sequences

from hardware.wire import dynamixel, feetech

FUZZ = settings(
    max_examples=1000, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("model", MODELS)
def test_no_bytes_crash_hang_or_corrupt_an_emulator(model):
    victim = Victim(model)

    @FUZZ
    @given(sequences(model))
    def attack(sequence):
        victim.survive(sequence)

    attack()


@pytest.mark.parametrize("model", MODELS)
def test_no_damaged_write_reaches_eeprom(model):
    bench = Bench(model)
    codec = dynamixel if model == "xl330-m288" else feetech
    before = [bench.arm.servo(joint).memory.stored() for joint in JOINTS]
    for servo in range(1, 7):
        if codec is feetech:
            bench.write(servo, "lock", 0)
    addresses = st.sampled_from(
        [r.address for r in bench.arm.servo(JOINTS[0]).memory.table.registers.values() if r.eeprom]
    )
    writes = st.builds(codec.write, st.integers(1, 6), addresses, st.binary(min_size=1, max_size=8))

    @settings(FUZZ, max_examples=300)
    @given(damaged(writes))
    def attack(data):
        assume(not codec.PacketParser().feed(data))
        bench.bytes(data)
        bench.wait(0.06)
        assert [bench.arm.servo(joint).memory.stored() for joint in JOINTS] == before

    attack()


@pytest.mark.parametrize("model", MODELS)
def test_well_formed_packets_are_well_formed(model):
    codec = dynamixel if model == "xl330-m288" else feetech

    @settings(FUZZ, max_examples=50)
    @given(packets(model))
    def check(packet):
        assert codec.PacketParser().feed(packet)

    check()
