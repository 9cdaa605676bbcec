"""Pictures for observations against dm_control's default, on the same scene.

Each is drawn in a process of its own: in one process the OpenGL contexts of the two get in one another's way.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from hardware.errors import RenderingUnavailableError
from hardware.quiet import quiet_loading
from hardware.rendering import ModelRenderer
from robot_ctrl.benches.processes import run
from robot_ctrl.benches.table import Row
from robot_ctrl.benches.timing import Pair, Work, median

DOMAIN, TASK = "cartpole", "swingup"
PIXELS = 64
PICTURES = 50
ROUNDS = 2


def rendering_rows() -> Iterator[Row]:
    """One row; without a value where there is no OpenGL."""
    setting, peer = f"{DOMAIN}-{TASK}, {PIXELS}×{PIXELS}", "dm_control's default"
    first = _in_a_process("time_ours")
    if "unavailable" in first:
        yield Row("rendering", setting, None, "", None, peer, None, "times faster", None, note=first["unavailable"])
        return
    answers = [(_in_a_process("time_ours"), _in_a_process("time_theirs")) for _ in range(ROUNDS)]
    pair = median([Pair(ours["cpu"], theirs["cpu"]) for ours, theirs in answers])
    rate = 1 / min(ours["wall"] for ours, _ in answers)
    yield Row(
        "rendering", setting, None, "", pair.measured * 1e3, peer, pair.peer * 1e3, "times faster", pair.efficiency,
        note=f"CPU time of a picture; {rate:.0f} frames/s of wall time",
    )  # fmt: skip


def time_ours() -> dict[str, Any]:
    """Seconds of a picture as observations have them, or why there is none."""
    physics = _physics()
    renderer = ModelRenderer(physics.model.ptr)
    try:
        return _shortest(lambda: renderer.render(physics.data.ptr, "0", PIXELS, PIXELS, fast=True))
    except RenderingUnavailableError as error:
        return {"unavailable": str(error)}


def time_theirs() -> dict[str, Any]:
    """Seconds of a picture as dm_control draws it."""
    physics = _physics()
    return _shortest(lambda: physics.render(PIXELS, PIXELS, camera_id=0))


def _physics() -> Any:
    with quiet_loading():
        from dm_control import suite
    return suite.load(DOMAIN, TASK, task_kwargs={"random": 0}).physics


def _shortest(work: Work) -> dict[str, Any]:
    work()
    times = []
    for _ in range(PICTURES):
        started, cpu_started = time.perf_counter(), time.process_time()
        work()
        times.append((time.process_time() - cpu_started, time.perf_counter() - started))
    cpu, wall = (min(column) for column in zip(*times, strict=True))
    return {"cpu": cpu, "wall": wall}


def _in_a_process(function: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        run(f"import json; from robot_ctrl.benches import rendering; print(json.dumps(rendering.{function}()))")
    )
    return answer
