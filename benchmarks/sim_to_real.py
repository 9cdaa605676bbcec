"""From simulation to an arm that differs from it, over the wire: success at the start, and after learning there.

    python benchmarks/sim_to_real.py --runs runs/arm-reach              virtual time, about half an hour of one core
    python benchmarks/sim_to_real.py --runs runs/arm-reach --real-time  processes and a pseudo-terminal
    python benchmarks/sim_to_real.py --runs runs/koch-reach --robot koch --payload 0.03

The arm is emulated, with a payload of 200 g, 30 % more friction, 15 ms more delay and encoder noise. Its servos are
driven over their wire protocol, byte by byte, at the control rate and within the limits of its robot file; the model
has only seen the simulation. Every seed draws its own targets and noise: trials before, 10 episodes of learning,
trials after. Seeds take the runs in turn.

In virtual time a plan takes --latency, whatever this computer needs for it, so the result does not depend on the
computer; control, planning, filtering and recording are the code of `robot-ctrl deploy`. With --real-time it is
`robot-ctrl deploy` itself, and a computer that is too slow shows.

Writes benchmarks/results/sim-to-real-ROBOT.csv (or sim-to-real-time-ROBOT.csv), trial by trial, and prints a table of
what it holds. Seeds that are not asked for stay in the file, so a measurement can be taken seed by seed.
"""

import argparse
import csv
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hardware.clock import VirtualClock
from hardware.emulator import PlantOptions, emulate_in_memory
from hardware.robot import Observation
from robot_ctrl.evaluation import wilson_interval

ROOT = Path(__file__).parent.parent
PLANT = PlantOptions(payload=0.2, friction=1.3, delay=0.015, noise=0.0008)
LEARNING_EPISODES = 10
MOVE_SPEED = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="trained arm-reach runs")
    parser.add_argument("--robot", default="so101", help="a packaged robot, or a YAML file")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--before", type=int, default=40, help="trials before learning, of each seed")
    parser.add_argument("--after", type=int, default=40, help="trials after learning, of each seed")
    parser.add_argument("--payload", type=float, default=PLANT.payload, help="kg in the gripper")
    parser.add_argument("--latency", type=float, default=0.04, help="s that a plan takes in virtual time")
    parser.add_argument("--real-time", action="store_true")
    given = parser.parse_args()
    name = f"sim-to-real{'-time' if given.real_time else ''}-{Path(given.robot).stem}.csv"
    path = ROOT / "benchmarks" / "results" / name
    rows = [row for row in _read(path) if int(row["seed"]) not in given.seeds]
    for seed in given.seeds:
        run = given.runs[seed % len(given.runs)]
        with tempfile.TemporaryDirectory() as folder:
            trials = (_real_time if given.real_time else _virtual)(given, run, seed, Path(folder))
            for row in trials:
                rows.append({"seed": seed, "run": run.name, **row})
                rows.sort(key=lambda row: int(row["seed"]))
                _write(rows, path)
    print(table(rows))


class Arm:
    """The loop of a deployment in virtual time, in front of an arm that is emulated byte by byte."""

    def __init__(self, given: argparse.Namespace, run: Path, seed: int, folder: Path) -> None:
        import torch

        from robot_ctrl.build import open_run
        from robot_ctrl.realtime.control import ControlTick
        from robot_ctrl.realtime.latency import LatencyEstimate
        from robot_ctrl.realtime.learner_process import Learner, LearnerSettings
        from robot_ctrl.realtime.parts import load_task_and_model
        from robot_ctrl.realtime.planning import RealTimePlanner
        from robot_ctrl.realtime.recording import EpisodeRecorder
        from robot_ctrl.realtime.rules import LatePlanRules
        from robot_ctrl.realtime.sources import DescribedArm, described
        from robot_ctrl.replanner import Replanner
        from robot_ctrl.run_folder import RunFolder

        torch.set_num_threads(1)
        _, config = open_run(run)
        self.task, model = load_task_and_model(config, run)
        self.task.robot.connect()
        self.clock = VirtualClock()
        description = described(given.robot, model_rate=1 / self.task.period).description
        port: Any = emulate_in_memory(description, self.clock, plant=replace(PLANT, payload=given.payload), seed=seed)
        source = DescribedArm(description, port)
        self.robot = source.open(self.clock)
        self.robot.connect()
        self._constants: Mapping[str, Any] = {}
        self._measures = source.measures
        self.control = ControlTick(
            self.robot,
            source.filter(self.robot, self.clock),
            self.clock,
            scale=self.task.action_scale,
            rules=LatePlanRules(),
            complete=lambda seen: replace(seen, values={**seen.values, **self._constants}),
        )
        replanner = Replanner(self.task, model, config.planner, now=self.clock.now)
        self._planner = RealTimePlanner(self.task, model, replanner, self.clock, LatencyEstimate(given.latency))
        self._latency = given.latency
        self._folder = RunFolder(folder)
        self._learner = Learner(LearnerSettings(config, run, folder), self.task, model)
        self._recorder = EpisodeRecorder(self.clock)
        self._seed = seed

    def trial(self, number: int, *, record: bool = False) -> list[Observation]:
        """One episode: go to its start, then follow plans; returns what was observed, step by step."""
        from robot_ctrl.deploy import _FROM_THE_ROBOT
        from robot_ctrl.realtime.recording import Close, First, Open, Stepped
        from robot_ctrl.realtime.sampling import StepSampler
        from robot_ctrl.realtime.virtual import VirtualPlanner, drive
        from robot_ctrl.seeds import derive_seed

        start = self.task.robot.reset(derive_seed(self._seed, "deployment", number))
        known = (*_FROM_THE_ROBOT, *self._measures)
        self._constants = {name: value for name, value in start.values.items() if name not in known}
        self.control.move_to(start.values["command"], MOVE_SPEED)
        still = VirtualPlanner(self._planner, self.clock, lambda count: 0.0, float("inf"))
        still._next = float("inf")
        drive(self.control, still, self.clock, lambda tick: (self.control.done and tick.speed < 1e-6) or self._broken())
        self._planner.reset(derive_seed(self._seed, "policy", number))
        self.control.follow()
        sampler = StepSampler(self.task.action_scale, self.task.period, self.control.period)
        observations: list[Observation] = []
        entries: list[Any] = []

        def over(tick: Any) -> bool:
            step = sampler.add(tick)
            if not observations and sampler.first is not None:
                observations.append(sampler.first)
                entries.append(First(tick.time, sampler.first))
            if step is not None:
                observations.append(step.observation)
                entries.append(Stepped(tick.time, step))
            return len(observations) > self.task.episode_steps or self._broken()

        planner = VirtualPlanner(
            self._planner, self.clock, lambda count: self._latency, self.task.period, lambda: self.control.lag
        )
        drive(self.control, planner, self.clock, over)
        if record:
            path = self._folder.episode_path(number)
            for entry in (Open(self.clock.now(), number, path, {}), *entries, Close(self.clock.now(), "finished")):
                self._recorder.write(entry)
        return observations

    def learn(self, episodes: int) -> float:
        """Refit to the first so many episodes; returns the one-step error of the model before."""
        return self._learner.learn(episodes).one_step_error

    def _broken(self) -> bool:
        if self.control.fault is not None:
            raise SystemExit(self.control.fault)
        return False


def _virtual(given: argparse.Namespace, run: Path, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    arm = Arm(given, run, seed, folder)
    for trial in range(given.before):
        yield _row(arm, "before", arm.trial(1000 + trial))
    for episode in range(LEARNING_EPISODES):
        observations = arm.trial(episode, record=True)
        yield _row(arm, "learning", observations) | {"one_step_error": arm.learn(episode + 1)}
    for trial in range(given.after):
        yield _row(arm, "after", arm.trial(2000 + trial))


def _row(arm: Arm, phase: str, observations: list[Observation]) -> dict[str, Any]:
    distance = arm.task.measures(observations)["final_distance"]
    return {
        "phase": phase,
        "final_distance": round(distance, 5),
        "success": int(bool(arm.task.success(observations))),
        "one_step_error": None,
    }


def _real_time(given: argparse.Namespace, trained: Path, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    import shutil

    from emulated import emulated_arm

    from robot_ctrl.deploy import deploy
    from robot_ctrl.run_folder import RunFolder

    run, plant = folder / "run", replace(PLANT, payload=given.payload)
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("deployments"))
    with emulated_arm(given.robot, rate=40.0, plant=plant, seed=seed) as (_, source):
        for phase, episodes, learn in (
            ("before", given.before, False),
            ("learning", LEARNING_EPISODES, True),
            ("after", given.after, False),
        ):
            name = "learning" if learn else phase
            if phase == "after":
                shutil.copytree(run / "deployments/learning/checkpoints", run / "deployments/after/checkpoints")
            deploy(
                run,
                source,
                episodes=episodes,
                learn=learn,
                park=False,
                seed=seed * 1000 + len(phase),
                name=name,
                start_speed=MOVE_SPEED,
                latch_folder=folder,
            )
            for row in RunFolder(run / "deployments" / name).read_metrics():
                yield {
                    "phase": phase,
                    "final_distance": row["final_distance"],
                    "success": int(row["success"]),
                    "one_step_error": row["one_step_error"],
                }


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, Any]]) -> str:
    """Success and distances of each phase, pooled over seeds."""
    phases: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        phases[row["phase"]].append(row)
    lines = [
        "| phase | trials | success | 95 % interval | by seed | final distance, median / 95 % / worst |",
        "|---|---|---|---|---|---|",
    ]
    for phase, trials in phases.items():
        outcomes = [int(row["success"]) for row in trials]
        low, high = wilson_interval(sum(outcomes), len(outcomes))
        seeds = [
            f"{statistics.mean(int(row['success']) for row in trials if row['seed'] == seed):.0%}"
            for seed in dict.fromkeys(row["seed"] for row in trials)
        ]
        p50, p95, worst = np.percentile([float(row["final_distance"]) * 1e3 for row in trials], (50, 95, 100))
        lines.append(
            f"| {phase} | {len(trials)} | **{statistics.mean(outcomes):.1%}** | {low:.1%} to {high:.1%} "
            f"| {', '.join(seeds)} | {p50:.0f} / {p95:.0f} / {worst:.0f} mm |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
