"""The safety filter: what goes out is always within the limits, and the reasons say what was changed."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.errors import CommandRefusedError, StoppedError
from hardware.robot import Array, CommandMode, JointSpec, Observation, RobotSpec, SentAction
from hardware.safety import SafetyFilter

PERIOD = 0.1


class RecordingRobot:
    """Takes every command and remembers it; its joints stay where they are."""

    def __init__(self, spec: RobotSpec, position: Sequence[float] | None = None, observes_command: bool = True):
        self.spec = spec
        self.is_connected = True
        self.clock = VirtualClock()
        self.sent: list[Array] = []
        self.stops: list[str] = []
        self.cleared = 0
        self.position = np.zeros(spec.action_size) if position is None else np.array(position)
        self.observes_command = observes_command

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def get_observation(self) -> Observation:
        values = {"joint_position": self.position.copy()}
        if self.observes_command:
            values["command"] = self.sent[-1].copy() if self.sent else self.position.copy()
        return Observation(0, values)

    def send_action(self, action: Array) -> SentAction:
        self.sent.append(np.array(action))
        self.clock.advance(PERIOD)
        return SentAction(action, np.array(action), (), self.clock.now() - PERIOD)

    def stop(self, reason: str) -> None:
        self.stops.append(reason)

    def clear_fault(self) -> None:
        self.cleared += 1


def make_spec(mode: CommandMode = "position", **limits: object) -> RobotSpec:
    joints = (JointSpec("left", **limits), JointSpec("right", **limits))  # type: ignore[arg-type]
    return RobotSpec("pair", joints, mode, 1 / PERIOD)


@pytest.mark.parametrize(
    ("mode", "limits", "requested", "sent", "reasons"),
    [
        ("position", {"position": (-1, 1)}, [0.5, -0.5], [0.5, -0.5], ()),
        ("position", {"position": (-1, 1)}, [1.5, 0], [1, 0], (("position", "left", 0.5),)),
        ("position", {"velocity": 2.0}, [0.1, -0.5], [0.1, -0.2], (("velocity", "right", 0.3),)),
        (
            "position",
            {"position": (-1, 1), "velocity": 2.0},
            [0, 1.5],
            [0, 0.2],
            (("position", "right", 0.5), ("velocity", "right", 0.8)),
        ),
        ("position", {"acceleration": 5.0}, [0.5, 0], [0.05, 0], (("acceleration", "left", 0.45),)),
        (
            "velocity",
            {"velocity": 1.0},
            [3, -3],
            [1, -1],
            (("velocity", "left", 2), ("velocity", "right", 2)),
        ),
        ("velocity", {"acceleration": 4.0}, [1, 0.2], [0.4, 0.2], (("acceleration", "left", 0.6),)),
        ("effort", {"effort": 2.0, "velocity": 0.1}, [2, -3], [2, -2], (("effort", "right", 1),)),
        ("effort", {"command": (-1, 1), "effort": 9.0}, [2, 0], [1, 0], (("effort", "left", 1),)),
        ("normalized", {"command": (-1, 1)}, [1, -4], [1, -1], (("range", "right", 3),)),
        ("effort", {}, [1e6, -1e6], [1e6, -1e6], ()),
    ],
)
def test_limits_and_reasons(
    mode: CommandMode,
    limits: dict[str, object],
    requested: list[float],
    sent: list[float],
    reasons: tuple[tuple[str, str, float], ...],
) -> None:
    robot = RecordingRobot(make_spec(mode, **limits))
    receipt = SafetyFilter(robot.spec).send(robot, np.array(requested))
    np.testing.assert_allclose(receipt.sent, sent, atol=1e-12)
    np.testing.assert_array_equal(receipt.sent, robot.sent[0])
    np.testing.assert_array_equal(receipt.requested, requested)
    assert [reason[:2] for reason in receipt.reasons] == [reason[:2] for reason in reasons]
    assert [reason[2] for reason in receipt.reasons] == pytest.approx([reason[2] for reason in reasons])
    assert receipt.time == 0.0


def test_the_jerk_limits_how_velocity_commands_bend() -> None:
    robot = RecordingRobot(make_spec("velocity", velocity=1.0, acceleration=4.0, jerk=20.0))
    safety = SafetyFilter(robot.spec)
    for _ in range(12):
        receipt = safety.send(robot, np.array([1.0, -1.0]))
    steps = np.diff(np.array([np.zeros(2), *robot.sent]), axis=0)
    assert np.abs(np.diff(steps, axis=0)).max() <= 20.0 * PERIOD**2 + 1e-9
    np.testing.assert_allclose(steps[0], [0.2, -0.2])
    np.testing.assert_allclose(robot.sent[-1], [1.0, -1.0], atol=1e-6)
    assert receipt.reasons == () or {reason[0] for reason in receipt.reasons} == {"jerk"}


def test_the_rate_is_taken_against_the_previous_command_not_the_lagging_joint() -> None:
    robot = RecordingRobot(make_spec(position=(-1, 1), velocity=1.0))
    safety = SafetyFilter(robot.spec)
    for _ in range(5):
        safety.send(robot, np.array([1.0, 0.0]))
    np.testing.assert_allclose([command[0] for command in robot.sent], [0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_robot_that_does_not_report_its_command_starts_from_its_position() -> None:
    robot = RecordingRobot(make_spec(velocity=1.0), position=[0.7, -0.7], observes_command=False)
    receipt = SafetyFilter(robot.spec).send(robot, np.zeros(2))
    np.testing.assert_allclose(receipt.sent, [0.6, -0.6])


def test_an_observation_given_at_reset_is_the_start() -> None:
    robot = RecordingRobot(make_spec(velocity=1.0), position=[0.7, -0.7])
    safety = SafetyFilter(robot.spec)
    safety.reset(Observation(0, {"command": np.array([0.2, 0.0])}))
    np.testing.assert_allclose(safety.send(robot, np.ones(2)).sent, [0.3, 0.1])


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ([np.nan, 0.0], "left = nan"),
        ([0.0, np.inf], "right = inf"),
        ([0.0, -np.inf], "right = -inf"),
        ([0.0], r"\(1,\).*left, right"),
        ([0.0, 0.0, 0.0], r"\(3,\)"),
        ([[0.0, 0.0]], r"\(1, 2\)"),
    ],
)
def test_what_must_not_be_sent_stops_the_robot_and_latches(action: list[float], named: str) -> None:
    robot = RecordingRobot(make_spec(position=(-1, 1)))
    safety = SafetyFilter(robot.spec)
    safety.send(robot, np.array([0.3, 0.3]))
    with pytest.raises(CommandRefusedError, match=named):
        safety.send(robot, np.array(action))
    assert len(robot.sent) == 1
    assert len(robot.stops) == 1
    assert safety.fault == robot.stops[0]
    safety.reset()
    with pytest.raises(StoppedError, match="clear_fault"):
        safety.send(robot, np.array([0.3, 0.3]))
    assert len(robot.sent) == 1
    safety.clear_fault(robot)
    assert safety.fault is None
    assert robot.cleared == 1
    safety.send(robot, np.array([0.3, 0.3]))


def test_a_robot_that_does_not_know_where_it_is_gets_no_command() -> None:
    robot = RecordingRobot(make_spec(position=(-1, 1)), position=[0.0, np.nan])
    safety = SafetyFilter(robot.spec)
    with pytest.raises(CommandRefusedError, match=r"reports a command of \[ 0. nan\]"):
        safety.send(robot, np.zeros(2))
    assert robot.sent == []
    assert len(robot.stops) == 1
    assert safety.fault is not None


def test_the_latch_stays_while_the_robot_refuses_to_clear() -> None:
    class Broken(RecordingRobot):
        def clear_fault(self) -> None:
            raise StoppedError("the servo is still hot")

    robot = Broken(make_spec())
    safety = SafetyFilter(robot.spec)
    with pytest.raises(CommandRefusedError):
        safety.send(robot, np.full(2, np.nan))
    with pytest.raises(StoppedError, match="still hot"):
        safety.clear_fault(robot)
    assert safety.fault is not None


def test_from_outside_the_limits_only_inwards() -> None:
    robot = RecordingRobot(make_spec(position=(-1, 1), velocity=2.0), position=[1.5, -1.5])
    safety = SafetyFilter(robot.spec)
    outwards = safety.send(robot, np.array([2.0, -2.0]))
    np.testing.assert_array_equal(outwards.sent, [1.5, -1.5])
    assert ("position", "left", 0.5) in outwards.reasons
    for expected in (1.3, 1.1):
        np.testing.assert_allclose(safety.send(robot, np.array([0.0, 0.0])).sent, [expected, -expected])
    back = safety.send(robot, np.array([2.0, -2.0]))
    np.testing.assert_allclose(back.sent, [1.1, -1.1])
    safety.send(robot, np.zeros(2))
    np.testing.assert_allclose(safety.send(robot, np.array([2.0, -2.0])).sent, [1.0, -1.0])


def test_the_command_brakes_in_front_of_a_limit() -> None:
    robot = RecordingRobot(make_spec(position=(-1, 1), acceleration=1.0))
    safety = SafetyFilter(robot.spec)
    for _ in range(60):
        safety.send(robot, np.array([9.0, -9.0]))
    path = np.array([np.zeros(2), *robot.sent])
    assert path[-1] == pytest.approx([1.0, -1.0], abs=1e-6)
    steps = np.diff(np.array([np.zeros(2), *path]), axis=0)
    assert np.abs(np.diff(steps, axis=0)).max() <= 1.0 * PERIOD**2 + 1e-9
    assert np.abs(steps).max() > 0.08, "it should get fast before it brakes"


def random_case(rng: np.random.Generator) -> tuple[RobotSpec, Array, Array]:
    """A robot with random limits, a start within them, and wild requests."""
    joints = []
    for index in range(3):
        low = rng.uniform(-3, 0)
        joints.append(
            JointSpec(
                f"joint_{index}",
                position=(low, low + rng.uniform(0.1, 4)) if rng.random() < 0.9 else None,
                velocity=10 ** rng.uniform(-1, 1) if rng.random() < 0.7 else None,
                acceleration=10 ** rng.uniform(-1, 2) if rng.random() < 0.7 else None,
            )
        )
    spec = RobotSpec("random", tuple(joints), "position", 10 ** rng.uniform(1, 3))
    low, high = spec.command_limits
    low, high = np.maximum(low, -9), np.minimum(high, 9)
    requests = rng.choice([0.1, 1, 10, 1e6], size=(40, 1)) * rng.normal(size=(40, 3))
    held = np.repeat(requests[::8], 8, axis=0) if rng.random() < 0.7 else requests
    return spec, rng.uniform(low, high), held


@pytest.mark.parametrize("block", range(10))
def test_whatever_is_asked_for_what_goes_out_is_within_every_limit(block: int) -> None:
    for case in range(100):
        spec, start, requests = random_case(np.random.default_rng([block, case]))
        robot = RecordingRobot(spec, position=start.tolist())
        safety = SafetyFilter(spec)
        receipts = [safety.send(robot, request) for request in requests]
        low, high = spec.command_limits
        path = np.array([start, start, *robot.sent])
        assert (path >= low).all()
        assert (path <= high).all()
        velocity = np.diff(path, axis=0) * spec.control_rate
        acceleration = np.diff(velocity, axis=0) * spec.control_rate
        for index, joint in enumerate(spec.joints):
            slack = 1e-9 * spec.control_rate**2
            assert np.abs(velocity[:, index]).max() <= (joint.velocity or np.inf) + slack
            assert np.abs(acceleration[:, index]).max() <= (joint.acceleration or np.inf) + slack
        for receipt in receipts:
            changed = {spec.joints[index].name for index in np.flatnonzero(receipt.sent != receipt.requested)}
            assert changed <= {joint for _, joint, _ in receipt.reasons}
            for index, joint in enumerate(spec.joints):
                total = sum(excess for _, name, excess in receipt.reasons if name == joint.name)
                assert total >= abs(receipt.requested[index] - receipt.sent[index]) - 1e-6


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"position": (1.0, -1.0)}, r"'left' has limits \(1.0, -1.0\)"),
        ({"position": (np.nan, 1.0)}, r"'left' has limits \(nan, 1.0\)"),
        ({"velocity": 0.0}, "'left' has a rate limit of 0.0; it must be above 0"),
        ({"velocity": np.nan}, "'left' has a rate limit of nan"),
        ({"acceleration": -1.0}, "'left' has a acceleration limit of -1.0|acceleration limit of -1.0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SafetyFilter(make_spec(**limits))


def test_the_callers_action_is_left_alone() -> None:
    robot = RecordingRobot(make_spec(position=(-1, 1)))
    action = np.array([5.0, -5.0])
    receipt = SafetyFilter(robot.spec).send(robot, action)
    np.testing.assert_array_equal(action, [5.0, -5.0])
    action[:] = 0
    np.testing.assert_array_equal(receipt.requested, [5.0, -5.0])


def test_a_robots_own_changes_are_reported_and_are_the_next_reference() -> None:
    class Cautious(RecordingRobot):
        def send_action(self, action: Array) -> SentAction:
            receipt = super().send_action(action * 0.5)
            return dataclasses.replace(receipt, reasons=(("current", "left", 0.05),))

    robot = Cautious(make_spec(velocity=1.0))
    safety = SafetyFilter(robot.spec)
    receipt = safety.send(robot, np.array([1.0, 0.0]))
    assert receipt.sent[0] == pytest.approx(0.05)
    assert receipt.reasons[-1] == ("current", "left", 0.05)
    safety.send(robot, np.array([1.0, 0.0]))
    assert robot.sent[-1][0] == pytest.approx(0.075)
