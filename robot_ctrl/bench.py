"""Quick ratios on this machine: each figure against its floor or a peer, in one process at the same threads."""

from collections.abc import Callable, Iterable
from pathlib import Path

from robot_ctrl.benches.bus import bus_rows
from robot_ctrl.benches.fitting import fitting_rows
from robot_ctrl.benches.imports import imports_rows
from robot_ctrl.benches.latent import latent_rows
from robot_ctrl.benches.loop import loop_rows
from robot_ctrl.benches.planning import planning_rows
from robot_ctrl.benches.rendering import rendering_rows
from robot_ctrl.benches.safety import safety_rows
from robot_ctrl.benches.table import Row, markdown, write_csv

BENCHES: dict[str, Callable[[], Iterable[Row]]] = {
    "planning": planning_rows,
    "fitting": fitting_rows,
    "loop": loop_rows,
    "rendering": rendering_rows,
    "latent": latent_rows,
    "bus": bus_rows,
    "safety": safety_rows,
    "imports": imports_rows,
}


def bench(what: str, csv_path: Path) -> str:
    """Run one benchmark, or all of them.

    Args:
        what: one of ``BENCHES``, or "all".
        csv_path: where the rows go as well.

    Returns:
        The table to print.
    """
    chosen = BENCHES.values() if what == "all" else [BENCHES[what]]
    rows = [row for make_rows in chosen for row in make_rows()]
    write_csv(rows, csv_path)
    return markdown(rows)
