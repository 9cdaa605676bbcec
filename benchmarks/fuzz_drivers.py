"""A hundred thousand spoiled conversations with each bus driver: the right value or an error, in bounded time, always.

    python benchmarks/fuzz_drivers.py [--cases 100000]          about ten minutes for each driver

Each case is a sequence of reads, sync reads and writes to three servos whose positions change with every request, on a
line that loses, flips, cuts, delays, doubles, echoes, reorders and invents answers. The rule is checked by
tests/helpers/spoiled_line.py, which the tests run a thousand times. Exits with an error at the first wrong value, else
writes benchmarks/results/fuzz_drivers.csv.
"""

import argparse
import csv
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

from spoiled_line import SPOILS, check_spoiled

RESULTS = Path(__file__).parent / "results" / "fuzz_drivers.csv"
REPORT_EVERY = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    given = parser.parse_args()
    rows = [_fuzz(protocol, given.cases) for protocol in ("dynamixel", "feetech")]
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _fuzz(protocol: str, cases: int) -> dict[str, object]:
    values = errors = 0
    started = time.monotonic()
    for case in range(cases):
        drawn = random.Random(case)
        what = [drawn.choice(SPOILS) for _ in range(drawn.randrange(1, 9))]
        try:
            right, refused = check_spoiled(protocol, what, case)
        except Exception as error:
            raise SystemExit(f"{protocol}, case {case}, {what}: {type(error).__name__}: {error}") from error
        values, errors = values + right, errors + refused
        if (case + 1) % REPORT_EVERY == 0:
            elapsed = time.monotonic() - started
            print(f"{protocol}: {case + 1} cases, {values} right values, {errors} errors, 0 wrong, {elapsed:.0f} s")
    return {"driver": protocol, "cases": cases, "right_values": values, "errors": errors, "wrong_values": 0}


if __name__ == "__main__":
    main()
