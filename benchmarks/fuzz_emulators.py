"""Fuzz the servo emulators: byte sequences that must not crash, hang or corrupt them.

    python benchmarks/fuzz_emulators.py [--examples 100000] [--seed 0]

Every sequence mixes well-formed packets, damaged ones and noise, with pauses. Prints a line per emulator and writes
benchmarks/results/fuzz_emulators.csv; the exit status is 1 if one failed, after hypothesis has shown the smallest
sequence that does it.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from emulator_fuzz import MODELS, Victim, sequences

RESULTS = Path(__file__).parent / "results" / "fuzz_emulators.csv"


def fuzz(model: str, examples: int, seed: int) -> int:
    """Send that many sequences to an emulator; how many instructions it has heard."""
    victim = Victim(model)
    heard = 0

    @seeded(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sequences(model))
    def attack(sequence: list[tuple[bytes, float]]) -> None:
        nonlocal heard
        bench = victim.bench
        before = bench.arm.wire.requests
        victim.survive(sequence)
        heard += bench.arm.wire.requests - before

    attack()
    return heard


def main() -> int:
    """Fuzz every emulator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000, help="sequences for each emulator")
    parser.add_argument("--seed", type=int, default=0)
    given_arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for model in MODELS:
        started = time.perf_counter()
        heard = fuzz(model, given_arguments.examples, given_arguments.seed)
        took = time.perf_counter() - started
        print(f"{model}: {given_arguments.examples} sequences, {heard} instructions heard, no failure, {took:.0f} s")
        rows.append(
            {"emulator": model, "sequences": given_arguments.examples, "instructions_heard": heard, "failures": 0}
        )
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
