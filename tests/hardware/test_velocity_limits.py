"""Velocity commands of an arm: they brake in front of position limits, and from outside only lead inwards."""

from collections.abc import Callable

import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.errors import CommandRefusedError, StoppedError
from hardware.exploration import Exploration
from hardware.monitor import Monitor
from hardware.robot import Array, JointSpec, Observation, RobotSpec, SentAction
from hardware.safety import SafetyFilter

LOW, HIGH, SPEED, ACCELERATION, JERK, RATE = -0.5, 1.0, 1.0, 4.0, 400.0, 100.0


def arm_spec(rate: float = RATE, acceleration: float = ACCELERATION, jerk: float = JERK) -> RobotSpec:
    joints = (JointSpec(name, (LOW, HIGH), SPEED, acceleration, jerk=jerk) for name in ("left", "right"))
    return RobotSpec("arm", tuple(joints), "velocity", rate)


class Drifter:
    """An arm that takes velocities: it moves ``gain`` times as fast as told, and catches up in ``lag`` seconds."""

    def __init__(self, spec: RobotSpec, position: Array, *, gain: float = 1.0, lag: float = 0.0) -> None:
        self.spec, self.position, self.gain = spec, np.array(position, dtype=np.float64), gain
        self.period = 1.0 / spec.control_rate
        self.share = self.period / (lag + self.period)
        self.velocity = np.zeros(spec.action_size)
        self.clock = VirtualClock()
        self.is_connected = True
        self.positions = [self.position.copy()]
        self.sent: list[Array] = [np.zeros(spec.action_size)]
        self.stops: list[str] = []

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def get_observation(self) -> Observation:
        now = {"motion": self.clock.now()}
        return Observation(
            len(self.sent), {"joint_position": self.position.copy(), "command": self.sent[-1]}, {}, now, now
        )

    def send_action(self, action: Array) -> SentAction:
        self.velocity = self.velocity + self.share * (self.gain * action - self.velocity)
        self.position = self.position + self.velocity * self.period
        self.positions.append(self.position.copy())
        self.sent.append(np.array(action))
        self.clock.advance(self.period)
        return SentAction(action, np.array(action), (), self.clock.now() - self.period)

    def stop(self, reason: str) -> None:
        self.stops.append(reason)

    def clear_fault(self) -> None: ...


def drive(safety: SafetyFilter, robot: Drifter, wanted: Callable[[int], Array], steps: int) -> None:
    for step in range(steps):
        safety.send(robot, wanted(step), robot.get_observation())


def assert_legal(robot: Drifter) -> None:
    """Speeds, and their differences as accelerations and jerks; rounding in the differences."""
    sent, joint, rate = np.array(robot.sent), robot.spec.joints[0], robot.spec.control_rate
    assert np.abs(sent).max() <= SPEED
    assert np.abs(np.diff(sent, axis=0)).max() <= (joint.acceleration or 0) / rate + 1e-7
    assert np.abs(np.diff(sent, n=2, axis=0)).max() <= (joint.jerk or 0) / rate**2 + 1e-5


def test_full_speed_towards_a_limit_arrives_in_the_shortest_time_and_stands() -> None:
    robot = Drifter(arm_spec(), np.zeros(2))
    drive(SafetyFilter(robot.spec), robot, lambda step: np.array([SPEED, 0.0]), 160)
    place = np.array(robot.positions)[:, 0]
    assert place.max() == pytest.approx(HIGH, abs=1e-6)
    assert place.max() <= HIGH + 1e-9
    fastest = HIGH / SPEED + SPEED / ACCELERATION + ACCELERATION / JERK
    assert (np.flatnonzero(place < HIGH - 1e-4)[-1] + 1) / RATE == pytest.approx(fastest, abs=3 / RATE)
    braked = np.array(robot.sent)[np.abs(HIGH - place) < SPEED**2 / (2 * ACCELERATION) - 0.01, 0]
    assert (braked < SPEED).all(), "it brakes where the braking distance begins"
    np.testing.assert_array_equal(robot.sent[-1], [0.0, 0.0])
    assert_legal(robot)


def test_the_reason_names_the_joint_and_what_was_taken_off() -> None:
    robot = Drifter(arm_spec(), np.array([HIGH, 0.0]))
    receipt = SafetyFilter(robot.spec).send(robot, np.array([0.3, 0.0]), robot.get_observation())
    np.testing.assert_array_equal(receipt.sent, [0.0, 0.0])
    assert receipt.reasons == (("position", "left", pytest.approx(0.3)),)
    faster = SafetyFilter(robot.spec).send(robot, np.array([0.0, 7.0]), robot.get_observation())
    assert ("velocity", "right", 6.0) in faster.reasons


@pytest.mark.parametrize("start", [HIGH + 0.2, LOW - 0.2])
def test_from_outside_only_motion_inwards(start: float) -> None:
    outwards = np.full(2, np.copysign(0.5, start))
    robot = Drifter(arm_spec(), np.full(2, start))
    safety = SafetyFilter(robot.spec)
    drive(safety, robot, lambda step: outwards, 5)
    np.testing.assert_array_equal(robot.position, [start, start])
    drive(safety, robot, lambda step: -outwards, 60)
    assert (robot.position > LOW).all()
    assert (robot.position < HIGH).all()
    np.testing.assert_allclose(robot.sent[-1], -outwards)
    assert_legal(robot)


def test_smooth_velocities_are_sent_as_they_are() -> None:
    robot = Drifter(arm_spec(), np.zeros(2))

    def wave(step: int) -> Array:
        return 0.5 * np.sin(2 * np.pi * 0.8 * step / RATE) * np.array([1.0, -0.5])

    drive(SafetyFilter(robot.spec), robot, wave, 250)
    np.testing.assert_array_equal(robot.sent[1:], [wave(step) for step in range(250)])


def test_a_jump_of_the_wanted_speed_becomes_a_ramp_at_the_acceleration_limit() -> None:
    robot = Drifter(arm_spec(jerk=1e6), np.full(2, LOW))
    drive(SafetyFilter(robot.spec), robot, lambda step: np.full(2, 0.8), 30)
    steps = np.diff(np.array(robot.sent)[:, 0])
    np.testing.assert_allclose(steps[2:18], ACCELERATION / RATE, rtol=1e-3)
    np.testing.assert_allclose(robot.sent[-1], 0.8)


@pytest.mark.parametrize(("gain", "lag"), [(1.0, 0.05), (1.1, 0.0), (0.95, 0.03), (1.05, 0.05)])
def test_an_arm_that_lags_or_drifts_stops_at_its_limit_too(gain: float, lag: float) -> None:
    robot = Drifter(arm_spec(), np.zeros(2), gain=gain, lag=lag)
    drive(SafetyFilter(robot.spec), robot, lambda step: SPEED * (-1.0) ** (step // 200) * np.ones(2), 600)
    place = np.array(robot.positions)
    further = 0.015 + (SPEED * lag if gain > 1 else 0.0)  # a lag hides as much drift until the arm brakes
    assert LOW - further < place.min() < LOW + 0.1
    assert HIGH - 0.1 < place.max() < HIGH + further


def test_a_thousand_random_drives_stay_within_all_limits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(1000):
        rate = float(rng.choice([25.0, 50.0, 100.0]))
        spec = arm_spec(rate, rng.uniform(5.0, 40.0), 10.0 ** rng.uniform(2.5, 4.0))
        velocity = rng.uniform(-SPEED, SPEED, 2)
        to_stop = velocity / rate + velocity * np.abs(velocity) / 8 + np.copysign(0.01, velocity)
        robot = Drifter(spec, np.clip(rng.uniform(LOW, HIGH, 2), LOW - to_stop, HIGH - to_stop))
        robot.sent[-1] = velocity
        safety = SafetyFilter(spec)
        wanted = rng.normal(size=(3, 2)) * 10.0 ** rng.uniform(-2, 3)
        drive(safety, robot, lambda step, wanted=wanted: wanted[step // 2], 6)  # type: ignore[misc]
        safety.stop(robot, "the test is over")
        while not robot.stops:
            safety.send(robot, np.ones(2))
        place = np.array(robot.positions)
        assert place.min() >= LOW - 1e-9
        assert place.max() <= HIGH + 1e-9
        np.testing.assert_array_equal(robot.sent[-1], [0.0, 0.0])
        assert_legal(robot)


def test_a_software_stop_brakes_to_zero_velocity() -> None:
    robot = Drifter(arm_spec(), np.zeros(2))
    safety = SafetyFilter(robot.spec)
    drive(safety, robot, lambda step: np.array([SPEED, -SPEED]), 40)
    safety.send(robot, np.array([np.nan, 0.0]), robot.get_observation())
    assert safety.stopping
    steps = 0
    while safety.stopping:
        safety.send(robot, np.ones(2))
        steps += 1
    assert steps / RATE == pytest.approx(SPEED / ACCELERATION + ACCELERATION / JERK, abs=3 / RATE)
    np.testing.assert_array_equal(robot.sent[-1], [0.0, 0.0])
    assert len(robot.stops) == 1
    assert_legal(robot)


def test_a_position_that_is_no_number_stops_the_arm() -> None:
    robot = Drifter(arm_spec(), np.zeros(2))
    safety = SafetyFilter(robot.spec)
    drive(safety, robot, lambda step: np.full(2, 0.5), 20)
    robot.position = np.array([np.nan, 0.0])
    safety.send(robot, np.full(2, 0.5), robot.get_observation())
    assert safety.stopping
    assert "joint_position" in str(safety.fault)
    blind = Drifter(arm_spec(), np.array([np.nan, 0.0]))
    with pytest.raises(CommandRefusedError, match="joint_position"):
        SafetyFilter(blind.spec).send(blind, np.zeros(2))


def test_a_blocked_joint_trips_the_monitor() -> None:
    robot = Drifter(arm_spec(), np.zeros(2), gain=0.0)
    safety = SafetyFilter(
        robot.spec, monitor=Monitor(robot.spec, tracking_error=0.1, tracking_time=0.05), clock=robot.clock
    )
    with pytest.raises(StoppedError, match="tracking error of left"):
        drive(safety, robot, lambda step: np.full(2, 0.5), 400)


def test_exploration_keeps_velocities_in_its_box() -> None:
    robot = Drifter(arm_spec(), np.zeros(2))
    bounds = Exploration(np.full(2, -0.2), np.full(2, 0.2), 0.3)
    drive(SafetyFilter(robot.spec, exploration=bounds), robot, lambda step: np.array([SPEED, -SPEED]), 200)
    place = np.array(robot.positions)
    np.testing.assert_allclose(place[-1], [0.2, -0.2], atol=1e-6)
    assert np.abs(robot.sent).max() <= 0.3 + 1e-9


def test_an_arm_whose_command_moves_already_is_braked_from_there() -> None:
    robot = Drifter(arm_spec(), np.array([HIGH - 0.2, 0.0]))
    robot.sent[-1] = np.array([0.9, 0.0])
    drive(SafetyFilter(robot.spec), robot, lambda step: np.array([SPEED, 0.0]), 60)
    assert np.array(robot.positions).max() <= HIGH + 1e-9
    assert_legal(robot)
