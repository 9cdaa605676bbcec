"""How fast six servos can be written and read, against what the wire allows at 1 Mbps.

    python benchmarks/bus.py            about half a minute

The cycle and its floor are those of robot_ctrl/benches/bus.py. It is measured twice: in virtual time, where the
emulated bus takes exactly the time of its bytes and nothing else takes any (what the driver itself wastes on the line);
and in real time over a pseudo-terminal with the emulator in a process of its own, with adapters that hold bytes back
for 0, 1 and 16 ms (what driver, kernel, emulator and everything else on this machine add). Writes
benchmarks/results/bus.csv.
"""

import argparse
import csv
from pathlib import Path

from hardware.robot_file import load_description
from robot_ctrl.benches.bus import ARMS, BusFigures, in_real_time, in_virtual_time

RESULTS = Path(__file__).parent / "results" / "bus.csv"
LATENCIES = {0.0: 1000, 0.001: 1000, 0.016: 100}
"""Seconds that the adapter holds bytes back, and how many cycles are timed with it."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    for name in ARMS:
        description = load_description(name)
        rows.append({"arm": name, "time": "virtual", "adapter_ms": 0.0, **_figures(in_virtual_time(description))})
        for latency, cycles in LATENCIES.items():
            figures = _figures(in_real_time(description, latency, cycles))
            rows.append({"arm": name, "time": "real", "adapter_ms": 1000 * latency, **figures})
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(" | ".join(rows[0]))
    for row in rows:
        print(" | ".join(str(value) for value in row.values()))


def _figures(figures: BusFigures) -> dict[str, object]:
    median = figures.quantile(0.5)
    return {
        "cycles": len(figures.durations),
        "wire_ms": round(1e3 * figures.wire, 3),
        "p10_ms": round(1e3 * figures.quantile(0.1), 3),
        "p50_ms": round(1e3 * median, 3),
        "p99_ms": round(1e3 * figures.quantile(0.99), 3),
        "rate_hz": round(1 / median, 1),
        "efficiency": round(figures.wire / median, 3),
        "processor_ms": round(1e3 * figures.processor, 3),
        "retries": figures.retries,
    }


if __name__ == "__main__":
    main()
