"""What starting costs: imports and ``--help`` against a bare ``import torch``, each in a process of its own."""

from collections.abc import Iterator

from robot_ctrl.benches.processes import cpu_seconds, run
from robot_ctrl.benches.table import Row
from robot_ctrl.benches.timing import Pair, median

SIMULATORS = ("mujoco", "dm_control", "gymnasium")
PEER = "import torch"
STATEMENTS = {
    "import planners": "import planners",
    "import planners.icem": "import planners.icem, planners.objective",
    "import models": "import models",
    "import models.ensemble": "import models.ensemble",
    "robot-ctrl --help": "import contextlib\nfrom robot_ctrl.cli import main\n"
    "with contextlib.suppress(SystemExit): main(['--help'])",
}
ROUNDS = 3


def imports_rows() -> Iterator[Row]:
    """The time of each start, and how many simulators they imported between them."""
    loaded = {name for statement in STATEMENTS.values() for name in simulators_after(statement)}
    seconds = [{code: _seconds(code) for code in (PEER, *STATEMENTS.values())} for _ in range(ROUNDS)]
    for setting, statement in STATEMENTS.items():
        pair = median([Pair(times[statement], times[PEER]) for times in seconds])
        yield Row(
            "imports", setting, None, "", pair.measured * 1e3, PEER, pair.peer * 1e3, "ratio",
            pair.measured / pair.peer, note="CPU time, the interpreter's start included",
        )  # fmt: skip
    yield Row(
        "imports: simulators", "all of these", None, "", None, "", None, "count", len(loaded), at_most=0,
        note=", ".join(sorted(loaded)),
    )  # fmt: skip


def simulators_after(statement: str) -> set[str]:
    """The simulators that a statement imports."""
    report = f"\nimport sys\nprint('\\n', *(name for name in {SIMULATORS!r} if name in sys.modules))"
    return set(run(statement + report).splitlines()[-1].split())


def _seconds(code: str) -> float:
    started = cpu_seconds()
    run(code)
    return cpu_seconds() - started
