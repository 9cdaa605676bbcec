"""What an arm's safety filter costs: its quadratic programme beside the bare solver, all of it beside the period."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hardware.barrier import NearestCommand
from hardware.clock import VirtualClock
from hardware.monitor import Monitor
from hardware.robot import Array, Observation, RobotSpec, SentAction
from hardware.robot_file import load_description
from hardware.safety import SafetyFilter
from hardware.twin import KinematicTwin
from robot_ctrl.benches.table import Row

RATE = 100.0
MOST = 0.1
PROBLEMS, TICKS = 3000, 1500

READY = np.array([0.0, -0.65, 0.75, 0.50, 0.0, 0.20])
GOALS = {
    "in free space": np.array([[0.8, -0.9, 0.9, 0.3, 0.5, 0.4], [-0.8, -0.4, 0.6, 0.6, -0.5, 0.2]]),
    "along the table": np.array([[0.8, 1.2, 0.4, 0.6, 0.0, 0.2], [-0.8, 1.2, 0.4, 0.6, 0.0, 0.2]]),
    "folding and unfolding": np.array([[0.0, -1.70, 1.60, 0.80, 0.0, 0.0], READY]),
}

Problem = tuple[Array, Array, Array, Array, Array]


def safety_rows() -> Iterator[Row]:
    """The solver at two sizes, then the whole filter in each of three motions of the SO-101."""
    for joints, rows in ((6, 12), (12, 24)):
        yield _solver_row(joints, rows)
    for motion, goals in GOALS.items():
        yield _filter_row(motion, goals)


def random_problem(rng: np.random.Generator, joints: int, most_rows: int) -> Problem:
    """A box around 0 and barrier conditions that rest meets; in a fifth of them, conditions that nothing may meet."""
    count = int(rng.integers(0, most_rows + 1))
    floor = -rng.exponential(1.0, count) * (rng.random(count) < 0.7)
    if rng.random() < 0.2:
        floor += rng.uniform(0, 2, count)
    low, high = -rng.uniform(0, 3, joints), rng.uniform(0, 3, joints)
    return rng.normal(size=joints) * 3, low, high, rng.normal(size=(count, joints)), floor


def _solver_row(joints: int, rows: int) -> Row:
    """Each problem is solved, then the bare solver is called on the same one; medians."""
    rng = np.random.default_rng(0)
    solver = NearestCommand(joints, rows)
    whole, bare = np.zeros(PROBLEMS), np.zeros(PROBLEMS)
    for index in range(PROBLEMS):
        problem = random_problem(rng, joints, rows)
        started = time.perf_counter()
        solver.solve(*problem)
        solved = time.perf_counter()
        solver.call_solver()
        whole[index], bare[index] = solved - started, time.perf_counter() - solved
    measured, floor = float(np.median(whole)), float(np.median(bare))
    return Row(
        "safety: QP", f"daqp, {joints} joints, up to {rows} rows", 1, "fp64", measured * 1e3, "bare solver call",
        floor * 1e3, "efficiency", floor / measured, note="median of 3000 problems: filled in, solved and verified",
    )  # fmt: skip


class _Arm:
    """An arm that is where its command is, and costs nothing."""

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self.is_connected = True
        self.clock = VirtualClock()
        self._command = READY
        self._sequence = 0

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def get_observation(self) -> Observation:
        self._sequence += 1
        values = {"joint_position": self._command, "command": self._command, "temperature": np.full(6, 40.0)}
        now = {"motion": self.clock.now()}
        return Observation(self._sequence, values, {}, now, now)

    def send_action(self, action: Array) -> SentAction:
        self._command = action
        self.clock.advance(1.0 / RATE)
        return SentAction(action, action, (), self.clock.now())

    def stop(self, reason: str) -> None:
        raise AssertionError(f"the benchmark's motion was stopped: {reason}")

    def clear_fault(self) -> None: ...


def _filter_row(motion: str, goals: Array) -> Row:
    """The SO-101 with its twin and a monitor, sent to and fro between two goals every second."""
    spec = replace(load_description("so101").spec, control_rate=RATE)
    robot = _Arm(spec)
    assert spec.park_pose is not None
    safety = SafetyFilter(
        spec,
        twin=KinematicTwin("so101", [joint.name for joint in spec.joints], rest=[spec.park_pose]),
        monitor=Monitor(spec, tracking_error=0.5, temperature=65.0),
        max_age=0.1,
        clock=robot.clock,
    )
    seconds = np.zeros(TICKS)
    for tick in range(TICKS):
        observation, goal = robot.get_observation(), goals[tick // int(RATE) % 2]
        started = time.thread_time()
        safety.send(robot, goal, observation, robot.clock.now())
        seconds[tick] = time.thread_time() - started
    median, late = np.percentile(seconds, (50, 99)).tolist()
    return Row(
        "safety: filter", f"so101 {motion}, {RATE:g} Hz", 1, "fp64", median * 1e3, "control period", 1e3 / RATE,
        "share", median * RATE, at_most=MOST,
        note=f"CPU time, median; p99 {late * 1e3:.2g} ms; twin, monitor and ages included",
    )  # fmt: skip
