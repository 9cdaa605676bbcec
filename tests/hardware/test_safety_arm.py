"""The whole chain for an arm: limits of motion, stops from motion, ages, jumps, monitors, exploration, obstacles."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.arms.so101 import PARK_POSE
from hardware.clock import VirtualClock
from hardware.errors import CommandRefusedError, StoppedError
from hardware.exploration import Exploration
from hardware.monitor import Monitor
from hardware.robot import Array, JointSpec, Observation, RobotSpec, SentAction
from hardware.robot_file import load_description
from hardware.safety import SafetyFilter
from hardware.twin import KinematicTwin, Sphere, Workspace

RATE = 100.0
SPEC = RobotSpec(
    "arm",
    (JointSpec("left", (-1.0, 1.5), 3.0, 20.0, jerk=400.0), JointSpec("right", (-2.0, 0.5), 1.0, 10.0, jerk=800.0)),
    "position",
    RATE,
)
SO101 = load_description("so101").spec
READY = np.array([0.0, -0.65, 0.75, 0.50, 0.0, 0.20])


class FollowingRobot:
    """An arm that is where its command is; remembers all commands and stops."""

    def __init__(self, spec: RobotSpec = SPEC, position: Sequence[float] | None = None) -> None:
        self.spec = spec
        self.is_connected = True
        self.clock = VirtualClock()
        self.command = np.zeros(spec.action_size) if position is None else np.array(position, dtype=np.float64)
        self.path = [self.command] * 3
        self.stops: list[str] = []
        self.extra: dict[str, Array] = {}
        self.sequence = 0

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def get_observation(self) -> Observation:
        values = {"joint_position": self.command.copy(), "command": self.command.copy()} | self.extra
        self.sequence += 1
        now = {"motion": self.clock.now()}
        return Observation(self.sequence, values, {}, now, now)

    def send_action(self, action: Array) -> SentAction:
        self.command = np.array(action)
        self.path.append(self.command)
        time = self.clock.now()
        self.clock.advance(1.0 / self.spec.control_rate)
        return SentAction(action, self.command.copy(), (), time)

    def stop(self, reason: str) -> None:
        self.stops.append(reason)

    def clear_fault(self) -> None: ...


def assert_legal(robot: FollowingRobot) -> None:
    """Every command and every difference of commands is within its limit; after a stop the last command stays."""
    held = [robot.command] * 3 if robot.stops else []
    path, rate = np.array(robot.path + held), robot.spec.control_rate
    low, high = robot.spec.command_limits
    assert (path >= low - 1e-9).all()
    assert (path <= high + 1e-9).all()
    for order, name in enumerate(("velocity", "acceleration", "jerk"), start=1):
        limits = np.array([getattr(joint, name) for joint in robot.spec.joints])
        assert (np.abs(np.diff(path, n=order, axis=0)) <= limits / rate**order + 1e-9).all(), name


def speed(robot: FollowingRobot) -> float:
    """Of the last command, the fastest joint's."""
    return float(np.abs(robot.path[-1] - robot.path[-2]).max()) * robot.spec.control_rate


def moving(safety: SafetyFilter, robot: FollowingRobot, steps: int = 30) -> None:
    """Get both joints up to speed."""
    for _ in range(steps):
        safety.send(robot, robot.command + np.array([0.02, -0.008]))


numbers = st.one_of(
    st.floats(-3, 3), st.floats(-0.05, 0.05), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([1e300])
)
requests = st.one_of(
    st.tuples(st.sampled_from(["absolute", "relative"]), st.lists(numbers, min_size=2, max_size=2), st.integers(1, 15)),
    st.tuples(st.just("absolute"), st.lists(numbers, max_size=4), st.just(1)),
)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(asked=st.lists(requests, min_size=1, max_size=12), start=st.tuples(st.floats(-1, 1.5), st.floats(-2, 0.5)))
def test_whatever_comes_in_what_goes_out_is_legal_and_comes_to_rest(
    asked: list[tuple[str, list[float], int]], start: tuple[float, float]
) -> None:
    robot = FollowingRobot(position=start)
    safety = SafetyFilter(SPEC, largest_jump=2.5, max_age=0.5, clock=robot.clock)
    for kind, values, times in asked:
        for _ in range(times):
            relative = kind == "relative" and len(values) == 2
            action = robot.command + np.array(values) if relative else np.array(values)
            try:
                receipt = safety.send(robot, action)
            except (CommandRefusedError, StoppedError):
                assert safety.fault is not None
                assert not safety.stopping
            else:
                changed = np.flatnonzero(~(np.abs(receipt.sent - receipt.requested) <= 1e-9))
                assert {SPEC.joints[i].name for i in changed} <= {joint for _, joint, _ in receipt.reasons}
    safety.stop(robot, "the test is over")
    for _ in range(500):
        try:
            safety.send(robot, np.full(2, np.nan))
        except StoppedError:
            break
    assert len(robot.stops) == 1
    assert_legal(robot)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    start=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    goals=st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4)), min_size=1, max_size=5),
)
def test_from_outside_the_limits_only_inwards(start: tuple[float, float], goals: list[tuple[float, float]]) -> None:
    robot = FollowingRobot(position=start)
    safety = SafetyFilter(SPEC)
    low, high = SPEC.command_limits
    for goal in goals:
        for _ in range(25):
            before = np.maximum(low - robot.command, robot.command - high)
            safety.send(robot, np.array(goal))
            after = np.maximum(low - robot.command, robot.command - high)
            assert (after <= np.maximum(before, 0.0) + 1e-9).all()


def test_an_allowed_command_is_sent_as_it_is_with_no_reason() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC)
    for step in range(200):
        wanted = 0.2 * (1 - np.cos(2 * np.pi * 0.4 * step / RATE)) * np.array([1.0, -1.0])
        receipt = safety.send(robot, wanted)
        np.testing.assert_array_equal(receipt.sent, wanted)
        assert receipt.reasons == ()


def test_reasons_name_the_limits_that_the_request_exceeds() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC)
    first = safety.send(robot, np.array([2.0, 0.0]))
    assert [reason[:2] for reason in first.reasons] == [("position", "left"), ("velocity", "left")]
    assert first.reasons[0][2] == pytest.approx(0.5)
    gentle = FollowingRobot()
    assert SafetyFilter(SPEC).send(gentle, np.array([0.0, 0.004])).reasons[0][:2] == ("acceleration", "right")
    assert SafetyFilter(SPEC).send(FollowingRobot(), np.array([0.001, 0.0])).reasons[0][:2] == ("jerk", "left")


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ([np.nan, 0.0], "left = nan"),
        ([0.0, np.inf], "right = inf"),
        ([0.0], r"shape \(1,\)"),
        ([1.4, 0.0], "rad from the one before it for left, and 0.5 rad is the limit"),
    ],
)
def test_a_bad_command_in_motion_is_answered_by_braking_then_by_a_stop(action: list[float], named: str) -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC, largest_jump=0.5)
    moving(safety, robot)
    assert speed(robot) > 1.5
    receipt = safety.send(robot, np.array(action))
    assert safety.stopping
    assert {reason[0] for reason in receipt.reasons} == {"software stop"}
    assert robot.stops == []
    with pytest.raises(StoppedError, match="still braking"):
        safety.clear_fault(robot)
    for _ in range(40):
        if not safety.stopping:
            break
        safety.send(robot, robot.command + 0.02)
    assert_legal(robot)
    assert speed(robot) < 0.01
    assert len(robot.stops) == 1
    with pytest.raises(StoppedError, match=named):
        safety.send(robot, robot.command)
    braked = (len(robot.path) - 33) / RATE
    assert braked <= 2.0 / 20 + 20 / 400 + 2 / RATE, "as fast as the limits allow"
    safety.clear_fault(robot)
    safety.send(robot, robot.command + 1e-4)


def test_a_bad_command_at_rest_is_refused_at_once() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC)
    safety.send(robot, np.zeros(2))
    with pytest.raises(CommandRefusedError, match="left = nan"):
        safety.send(robot, np.array([np.nan, 0.0]))
    assert len(robot.stops) == 1
    assert len(robot.path) == 4


def test_the_first_command_may_not_be_far_from_where_the_arm_is() -> None:
    robot = FollowingRobot(position=[0.8, 0.0])
    with pytest.raises(CommandRefusedError, match=r"0\.8 rad from the one before it for left"):
        SafetyFilter(SPEC, largest_jump=0.5).send(robot, np.zeros(2))
    assert len(robot.path) == 3


def test_reset_does_not_end_a_stop() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC)
    moving(safety, robot)
    safety.stop(robot, "asked to")
    safety.reset(robot.get_observation())
    while safety.stopping:
        safety.send(robot, np.zeros(2))
    assert_legal(robot)
    assert robot.stops == ["asked to"]


def aged(robot: FollowingRobot, age: float, sequence: int = 0) -> Observation:
    """What was read so many seconds ago."""
    time = {"motion": robot.clock.now() - age, "health": robot.clock.now() - 10}
    values = {"joint_position": robot.command, "command": robot.command}
    return Observation(sequence, values, {}, time, time)


def test_what_is_too_old_is_not_acted_on() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC, max_age=0.1, clock=robot.clock)
    safety.send(robot, np.zeros(2), aged(robot, 0.09), robot.clock.now() - 0.09)
    with pytest.raises(CommandRefusedError, match=r"decided 0\.150 s ago.*0\.1 s is the limit"):
        safety.send(robot, np.zeros(2), aged(robot, 0.0, 1), robot.clock.now() - 0.15)
    safety.clear_fault(robot)
    with pytest.raises(CommandRefusedError, match=r"newest observation is 0\.120 s old"):
        safety.send(robot, np.zeros(2), aged(robot, 0.12))


def test_readings_that_stay_away_become_too_old() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC, max_age=0.1, clock=robot.clock)
    safety.send(robot, np.zeros(2), aged(robot, 0.0))
    for _ in range(9):
        safety.send(robot, np.zeros(2))
    robot.clock.advance(0.01)
    with pytest.raises(CommandRefusedError, match="newest observation"):
        safety.send(robot, np.zeros(2))


def test_commands_and_observations_come_in_order() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC, max_age=1.0, clock=robot.clock)
    safety.send(robot, np.zeros(2), aged(robot, 0.0, 7), robot.clock.now())
    with pytest.raises(CommandRefusedError, match=r"decided 0\.020 s ago, after one of 0\.010 s ago"):
        safety.send(robot, np.zeros(2), aged(robot, 0.0, 8), robot.clock.now() - 0.02)
    safety.clear_fault(robot)
    safety.send(robot, np.zeros(2), aged(robot, 0.0, 9))
    with pytest.raises(CommandRefusedError, match="observation 8 came after 9"):
        safety.send(robot, np.zeros(2), aged(robot, 0.0, 8))


def test_a_hot_motor_stops_the_arm_until_it_has_cooled_down() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC, monitor=Monitor(SPEC, temperature=65.0), clock=robot.clock)
    moving(safety, robot)
    robot.extra["temperature"] = np.array([40.0, 70.0])
    safety.send(robot, robot.command, robot.get_observation())
    assert safety.fault is not None
    assert "temperature of right is 70 °C, and 65 °C is the limit" in safety.fault
    while safety.stopping:
        safety.send(robot, robot.command, robot.get_observation())
    assert_legal(robot)
    with pytest.raises(StoppedError, match=r"stays stopped.*right is 70 °C"):
        safety.clear_fault(robot)
    robot.extra["temperature"] = np.array([40.0, 50.0])
    safety.clear_fault(robot)
    safety.send(robot, robot.command, robot.get_observation())


def test_a_blocked_joint_stops_the_arm() -> None:
    robot = FollowingRobot()
    safety = SafetyFilter(SPEC, monitor=Monitor(SPEC, tracking_error=0.2, tracking_time=0.1), clock=robot.clock)
    robot.extra["joint_position"] = np.zeros(2)
    while safety.fault is None or safety.stopping:
        safety.send(robot, robot.command + np.array([0.01, 0.0]), robot.get_observation())
    assert "tracking error of left" in safety.fault
    assert 0.2 < robot.command[0] < 0.5
    with pytest.raises(StoppedError, match="tracking error of left"):
        safety.clear_fault(robot)


def test_exploration_keeps_to_its_box_and_speed_until_the_model_is_trusted() -> None:
    trust = 0.0
    robot = FollowingRobot()
    exploration = Exploration(np.full(2, -0.2), np.full(2, 0.2), 0.3, lambda: trust)
    safety = SafetyFilter(SPEC, exploration=exploration)
    for _ in range(200):
        receipt = safety.send(robot, np.array([1.0, -1.0]))
    np.testing.assert_allclose(robot.command, [0.2, -0.2])
    assert np.abs(np.diff(robot.path, axis=0)).max() * RATE <= 0.3 + 1e-9
    assert ("exploration", "left", pytest.approx(0.8)) in receipt.reasons
    trust = 1.0
    for _ in range(200):
        safety.send(robot, np.array([1.0, -1.0]))
    np.testing.assert_allclose(robot.command, [1.0, -1.0])
    trust = 0.0
    safety.send(robot, np.array([1.4, -1.0]))
    assert robot.command[0] <= 1.0 + 1e-9, "outside the box only inwards"
    for _ in range(500):
        safety.send(robot, np.zeros(2))
    np.testing.assert_allclose(robot.command, 0.0, atol=1e-9)
    assert_legal(robot)


def test_what_needs_a_clock_or_a_limit_says_so() -> None:
    with pytest.raises(ValueError, match="need the clock"):
        SafetyFilter(SPEC, max_age=0.1)
    with pytest.raises(ValueError, match="largest_jump is 0"):
        SafetyFilter(SPEC, largest_jump=0.0)
    unlimited = RobotSpec("arm", (JointSpec("left", (-1, 1)),), "position", RATE)
    with pytest.raises(ValueError, match="'left' has no velocity limit"):
        SafetyFilter(unlimited, exploration=Exploration(np.zeros(1), np.full(1, 0.1), 0.1))


def drive_so101(
    start: Sequence[float] | Array, request: Callable[[Array], Array], seconds: float, **scene: object
) -> tuple[FollowingRobot, Mapping[str, int], float]:
    """Drives the SO-101 with its twin; the path, how often each reason came, and the smallest slack on the way."""
    names = [joint.name for joint in SO101.joints]
    twin, judge = (KinematicTwin("so101", names, rest=[PARK_POSE], **scene) for _ in range(2))  # type: ignore[arg-type]
    robot = FollowingRobot(SO101, list(start))
    safety = SafetyFilter(SO101, twin=twin)
    reasons: dict[str, int] = {}
    slack = np.inf
    for _ in range(int(seconds * SO101.control_rate)):
        receipt = safety.send(robot, request(robot.command))
        for reason in {reason for reason, _, _ in receipt.reasons}:
            reasons[reason] = reasons.get(reason, 0) + 1
        near = judge.proximities(robot.command, 0.01, gradients=False)
        slack = min([slack, *(proximity.slack for proximity in near)])
    assert_legal(robot)
    return robot, reasons, slack


@pytest.mark.parametrize(
    ("goal", "what"),
    [
        ([0.0, 1.7, 0.2, 0.5, 0.0, 0.2], "gripper and table"),
        ([0.0, -1.2, 1.69, 1.65, 0.0, 0.2], "gripper"),
        ([1.2, 1.5, 1.0, -0.5, 0.0, 0.2], "table"),
    ],
)
@pytest.mark.parametrize("step", [np.inf, 0.05])
def test_the_arm_comes_to_rest_before_it_touches_the_table_or_itself(goal: list[float], what: str, step: float) -> None:
    robot, reasons, slack = drive_so101(
        READY, lambda command: command + np.clip(np.array(goal) - command, -step, step), 6.0
    )
    assert slack > -1e-6
    assert slack < 0.002, "it goes as far as it may"
    assert any(what in reason for reason in reasons)
    assert speed(robot) == 0.0


def test_an_arm_that_is_pressed_against_the_table_does_not_creep_along_it() -> None:
    robot, _, _ = drive_so101(
        [0.5, -0.65, 0.79, 0.5, 0.0, 0.2], lambda command: command + np.array([0.0, 0.06, 0.0, 0.06, 0.0, 0.0]), 3.0
    )
    assert speed(robot) == 0.0


@pytest.mark.parametrize(("elbow", "inwards"), [(1.69, 0.0), (1.67, 0.01), (1.67, 0.3)])
def test_parts_close_to_each_other_do_not_keep_other_joints_from_braking(elbow: float, inwards: float) -> None:
    folded = np.array([0.0, -1.745, elbow, -1.651, 0.0, 0.0])

    def pans(start: Array, bend: float) -> Array:
        asked = (start + np.array([min(0.4, 0.03 * step), 0, bend, 0, 0, 0]) for step in itertools.count(1))
        robot, _, _ = drive_so101(start, lambda _: next(asked), 2.0)
        return np.array(robot.path)[:, 0]

    np.testing.assert_allclose(pans(folded, inwards), pans(READY, 0.0), atol=1e-6)


def test_the_arm_folds_and_unfolds() -> None:
    down, _, slack = drive_so101(READY, lambda _: np.array(PARK_POSE), 2.0)
    np.testing.assert_allclose(down.command, PARK_POSE, atol=1e-6)
    up, _, _ = drive_so101(PARK_POSE, lambda _: READY, 2.0)
    np.testing.assert_allclose(up.command, READY, atol=1e-6)
    assert slack > -1e-6


def test_the_arm_glides_around_a_keep_out_sphere() -> None:
    goal = READY + np.array([1.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    cup = Sphere("cup", (0.15, 0.2, 0.2), 0.06)
    robot, reasons, slack = drive_so101(READY, lambda _: goal, 4.0, keep_out=[cup])
    assert slack > -1e-6
    assert reasons["barrier"] > 5
    np.testing.assert_allclose(robot.command, goal, atol=1e-6)
    free, reasons, _ = drive_so101(READY, lambda _: goal, 2.0)
    assert "barrier" not in reasons
    np.testing.assert_allclose(free.command, goal)


def test_the_tip_stays_in_its_workspace() -> None:
    box = Workspace((-0.5, -0.2, 0.02), (0.3, 0.2, 0.5), ("gripper_tip",))
    start = np.array([0.0, -1.0, 1.2, 0.5, 0.0, 0.2])
    _, _, slack = drive_so101(start, lambda command: command + np.array([0.03, 0.01, 0, 0, 0, 0]), 2.0, workspace=box)
    assert -1e-6 < slack < 0.002


def test_from_within_a_margin_the_arm_may_leave_but_not_go_deeper() -> None:
    names = [joint.name for joint in SO101.joints]
    twin = KinematicTwin("so101", names)
    deep = next(
        pose
        for pose in np.linspace(READY, [0.0, 1.0, 0.6, 0.4, 0.0, 0.2], 400)
        if any(near.distance < 0.001 for near in twin.collisions(pose))
    )
    before = twin.collisions(deep)[0]
    assert before.slack < -0.003
    robot, _, _ = drive_so101(deep, lambda command: command + np.array([0, 0.02, 0, 0, 0, 0]), 0.5)
    assert twin.collisions(robot.command)[0].distance >= before.distance - 1e-5
    robot, _, _ = drive_so101(deep, lambda _: READY, 2.0)
    np.testing.assert_allclose(robot.command, READY, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_random_driving_never_touches_anything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = SO101.command_limits
    goals = rng.uniform(low, high, (6, 6))
    ticks = iter(range(10**6))
    _, _, slack = drive_so101(READY, lambda _: goals[next(ticks) // 25 % 6], 3.0)
    assert slack > -0.002
