"""Write the tables of docs/benchmarks.md anew from the results that benchmarks/learning.py left.

    python benchmarks/tables.py

Replaces what stands between `<!-- SUITE -->` and `<!-- end -->` for every suite that has a csv.
"""

import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

from robot_ctrl.evaluation import wilson_interval

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    page = PAGE.read_text()
    for results in sorted(RESULTS.glob("*.csv")):
        marker = re.compile(rf"(<!-- {re.escape(results.stem)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if marker.search(page):
            page = marker.sub(rf"\g<1>{_table(results)}\n\g<2>", page)
    PAGE.write_text(page)


def _table(results: Path) -> str:
    variants = _read(results)
    if not results.stem.endswith("-evaluation"):
        return _learning(variants)
    succeeds = any(row["success"] for seeds in variants.values() for rows in seeds.values() for row in rows)
    return _successes(variants) if succeeds else _held_out(variants)


def _read(path: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    """Rows by variant, then by seed."""
    rows: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["variant"]][row["seed"]].append(row)
    return rows


def _learning(variants: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    lines = [
        "| variant | seeds | env steps | return (mean of last 3 episodes) by seed | median | worst | wall per seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, seeds in variants.items():
        last = {
            seed: statistics.mean(float(row["return"]) for row in rows[-3:]) for seed, rows in sorted(seeds.items())
        }
        steps = min(int(rows[-1]["env_steps"]) for rows in seeds.values())
        wall = statistics.median(float(rows[-1]["wall_s"]) for rows in seeds.values())
        each = ", ".join(_number(value) for value in last.values())
        lines.append(
            f"| {name} | {len(last)} | {steps:,} | {each} | **{_number(statistics.median(last.values()))}** "
            f"| {_number(min(last.values()))} | {wall / 60:.1f} min |"
        )
    return "\n".join(lines)


def _successes(variants: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    lines = [
        "| variant | seeds | trials | success | 95 % interval | by seed | final distance, median / 95 % / worst |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, seeds in variants.items():
        outcomes = {seed: [row["success"] == "True" for row in rows] for seed, rows in sorted(seeds.items())}
        pooled = [outcome for each in outcomes.values() for outcome in each]
        low, high = wilson_interval(sum(pooled), len(pooled))
        distances = sorted(float(row["final_distance"]) * 1e3 for rows in seeds.values() for row in rows)
        lines.append(
            f"| {name} | {len(outcomes)} | {len(pooled)} | **{sum(pooled) / len(pooled):.1%}** "
            f"| {low:.1%} to {high:.1%} | {', '.join(f'{statistics.mean(each):.0%}' for each in outcomes.values())} "
            f"| {statistics.median(distances):.0f} / {distances[int(0.95 * (len(distances) - 1))]:.0f} "
            f"/ {distances[-1]:.0f} mm |"
        )
    return "\n".join(lines)


def _held_out(variants: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    lines = [
        "| variant | seeds | trials | held-out return, median of each seed | median of all | worst of all |",
        "|---|---|---|---|---|---|",
    ]
    for name, seeds in variants.items():
        returns = {seed: [float(row["return"]) for row in rows] for seed, rows in sorted(seeds.items())}
        pooled = [value for each in returns.values() for value in each]
        each = ", ".join(_number(statistics.median(values)) for values in returns.values())
        lines.append(
            f"| {name} | {len(returns)} | {len(pooled)} | {each} | **{_number(statistics.median(pooled))}** "
            f"| {_number(min(pooled))} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}"


if __name__ == "__main__":
    main()
