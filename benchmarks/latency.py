"""What plan latency costs, and what the real-time loop wins back; in virtual time, so the machine does not matter.

    python benchmarks/latency.py --run runs/arm-reach          about 40 minutes

A trained arm-reach run drives the simulated arm at 100 Hz. Plans take 0, 20, 50 and 100 ms of virtual time. The cost is
the mean distance to the target over an episode, as a ratio to that of a planner that takes no time. Compared:

    the loop            asynchronous, start state predicted by the latency, played back as it was optimised
    no prediction       planned from the state that was observed; what is past when the plan arrives is left out
    from its arrival    planned from the state that was observed; followed from its first action on
    wrong playback      the plan's actions are interpolated linearly, where holding them was optimised
    waits for plans     the arm stands while it plans, then follows one action

Writes benchmarks/results/latency.csv and prints a table.
"""

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hardware.arms.reaching import reaching_arm
from hardware.clock import VirtualClock
from hardware.robot import Array, Observation
from hardware.safety import SafetyFilter
from robot_ctrl.build import open_run
from robot_ctrl.realtime.control import ControlTick
from robot_ctrl.realtime.latency import LatencyEstimate
from robot_ctrl.realtime.parts import load_task_and_model
from robot_ctrl.realtime.planning import Planned, RealTimePlanner
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.schedule import PlanFrom, integral
from robot_ctrl.realtime.virtual import VirtualPlanner, drive
from robot_ctrl.replanner import Replanner
from robot_ctrl.seeds import derive_seed

ROOT = Path(__file__).parent.parent
LATENCIES = (0.0, 0.02, 0.05, 0.1)
RATE = 100.0


class Waiting(VirtualPlanner):
    """Plans of one action each, which start when they are ready."""

    def poll(self, observation: Observation | None) -> PlanFrom | None:
        made = super().poll(observation)
        if made is None:
            return None
        now = self._clock.now()
        self._next = now + made.plan.dt
        return replace(made, plan=replace(made.plan, start_time=now, actions=made.plan.actions[:1], proposal=None))


class Tampering(RealTimePlanner):
    """Hands plans over other than they were made."""

    change: Callable[[PlanFrom, Array], PlanFrom]
    sent: Callable[[], Array]

    def published(self, planned: Planned) -> PlanFrom:
        return self.change(super().published(planned), self.sent())


def linear(made: PlanFrom, sent: Array) -> PlanFrom:
    return replace(made, plan=replace(made.plan, interpolation="linear"))


def without_its_past(made: PlanFrom, sent: Array) -> PlanFrom:
    plan = made.plan
    return replace(made, command=sent - STEP * integral(plan, plan.start_time, plan.computed_at))


def from_arrival(made: PlanFrom, sent: Array) -> PlanFrom:
    return PlanFrom(replace(made.plan, start_time=made.plan.computed_at), sent)


def unchanged(made: PlanFrom, sent: Array) -> PlanFrom:
    return made


STEP = 0.075
"""rad; what an action of 1 adds to a command in arm-reach."""

VARIANTS: dict[str, tuple[bool, Callable[[PlanFrom, Array], PlanFrom], type[VirtualPlanner]]] = {
    "the loop": (True, unchanged, VirtualPlanner),
    "no prediction": (False, without_its_past, VirtualPlanner),
    "from its arrival": (False, from_arrival, VirtualPlanner),
    "wrong playback": (True, linear, VirtualPlanner),
    "waits for plans": (False, from_arrival, Waiting),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a trained arm-reach run")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), help="only these; others stay in the csv")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for row in read() if row["variant"] not in given.variants]
    for trial in range(given.trials):
        for latency in LATENCIES:
            for variant in given.variants:
                mean, final = run_trial(given.run, variant, latency, trial)
                rows.append(
                    {
                        "variant": variant,
                        "latency_ms": f"{latency * 1e3:g}",
                        "trial": trial,
                        "mean_distance": f"{mean:.5f}",
                        "final_distance": f"{final:.5f}",
                    }
                )
        write(rows)
    print(table(rows))


def run_trial(run: Path, variant: str, latency: float, trial: int) -> tuple[float, float]:
    """Mean and final distance to the target, m."""
    predict, change, planner_class = VARIANTS[variant]
    _, config = open_run(run)
    task, model = load_task_and_model(config, run)
    clock = VirtualClock()
    task.robot.connect()
    task.robot.reset(derive_seed(0, "latency", trial))
    robot = reaching_arm("so101", control_rate=RATE, clock=clock)
    robot.connect()
    robot.set_state(task.robot.get_state())
    control = ControlTick(
        robot,
        SafetyFilter(robot.spec),
        clock,
        scale=task.action_scale,
        rules=LatePlanRules(),
    )
    replanner = Replanner(task, model, config.planner, now=clock.now)
    planner = Tampering(task, model, replanner, clock, LatencyEstimate(latency), predict=predict)
    planner.change, planner.sent = change, lambda: control.sent
    planner.reset(trial)
    control.follow()
    end = clock.now() + task.episode_steps * task.period
    ticks = drive(
        control,
        planner_class(planner, clock, lambda count: latency, task.period, lambda: control.lag),
        clock,
        lambda tick: tick.time >= end - 1e-9,
    )
    distances = [
        np.linalg.norm(tick.observation.values["gripper_tip"] - tick.observation.values["target"])
        for tick in ticks
        if tick.observation is not None
    ]
    return float(np.mean(distances)), float(distances[-1])


def read() -> list[dict[str, object]]:
    path = ROOT / "benchmarks" / "results" / "latency.csv"
    return list(csv.DictReader(path.open(newline=""))) if path.exists() else []


def write(rows: list[dict[str, object]]) -> None:
    with (ROOT / "benchmarks" / "results" / "latency.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, object]]) -> str:
    """Medians: cost as a ratio to the loop's without latency, final distance; how often the loop was better."""
    costs: dict[tuple[str, str], dict[int, tuple[float, float]]] = defaultdict(dict)
    for row in rows:
        key = str(row["variant"]), str(row["latency_ms"])
        costs[key][int(str(row["trial"]))] = float(str(row["mean_distance"])), float(str(row["final_distance"]))
    reference = costs["the loop", "0"]
    lines = ["| plan latency | " + " | ".join(VARIANTS) + " |", "|---" * (len(VARIANTS) + 1) + "|"]
    for latency in dict.fromkeys(key[1] for key in costs):
        cells = []
        for variant in VARIANTS:
            trials = costs[variant, latency]
            ratio = statistics.median(cost / reference[trial][0] for trial, (cost, _) in trials.items())
            final = statistics.median(final for _, final in trials.values())
            worse = sum(cost > costs["the loop", latency][trial][0] for trial, (cost, _) in trials.items())
            against = "" if variant == "the loop" or latency == "0" else f", worse in {worse} of {len(trials)}"
            cells.append(f"{ratio:.2f} ({final * 1e3:.1f} mm{against})")
        lines.append(f"| {latency} ms | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
