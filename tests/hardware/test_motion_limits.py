"""Motion limits: whatever is asked for, differences stay within limits, and the motion can always be braked."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.motion_limits import MotionLimits
from hardware.robot import Array, JointSpec, RobotSpec

JOINTS = 3


def arm_spec(
    rate: float = 100.0, velocity: float = 3.0, acceleration: float = 20.0, jerk: float | None = 400.0
) -> RobotSpec:
    joints = (JointSpec(f"joint_{i}", (-1.0, 1.5), velocity, acceleration, jerk=jerk) for i in range(JOINTS))
    return RobotSpec("arm", tuple(joints), "position", rate)


def follow(limits: MotionLimits, spec: RobotSpec, request: Callable[[int, Array], Array], steps: int) -> Array:
    """(steps + 3, JOINTS) commands, the start three times before them."""
    low, high = spec.command_limits
    start = limits.motion.state.position
    path = [start, start, start]
    for step in range(steps):
        requested = np.clip(request(step, path[-1]), low, high)
        motion = limits.towards(requested, low, high, limits.velocity)
        limits.accept(motion, requested)
        path.append(motion.state.position)
    return np.array(path)


def assert_within_limits(path: Array, spec: RobotSpec) -> None:
    """Positions, and differences of the commands as velocities, accelerations and jerks; rounding in the commands."""
    joint, rate = spec.joints[0], spec.control_rate
    low, high = spec.command_limits
    assert (path >= low - 1e-9).all()
    assert (path <= high + 1e-9).all()
    for order, limit in enumerate((joint.velocity, joint.acceleration, joint.jerk), start=1):
        if limit is not None:
            assert np.abs(np.diff(path, n=order, axis=0)).max() <= limit / rate**order + 1e-9


@st.composite
def specs(draw: st.DrawFn) -> RobotSpec:
    return arm_spec(
        draw(st.sampled_from([25.0, 50.0, 100.0, 250.0])),
        draw(st.floats(0.1, 6.0)),
        draw(st.floats(1.0, 60.0)),
        draw(st.none() | st.floats(10.0, 5000.0)),
    )


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(spec=specs(), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["noise", "steps", "deltas", "ramps"]))
def test_whatever_is_asked_for_commands_stay_within_limits_and_come_to_rest(
    spec: RobotSpec, seed: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-3, 1)
    drawn = rng.normal(size=(60, JOINTS)) * scale
    held = np.repeat(drawn[::10], 10, axis=0)
    requests: dict[str, Callable[[int, Array], Array]] = {
        "noise": lambda step, _: drawn[step],
        "steps": lambda step, _: held[step],
        "deltas": lambda step, previous: previous + held[step] * 0.1,
        "ramps": lambda step, previous: np.cumsum(held, axis=0)[step] * 0.1,
    }
    limits = MotionLimits(spec)
    limits.reset(rng.uniform(-1.0, 1.5, JOINTS))
    path = list(follow(limits, spec, requests[kind], 60))
    for _ in range(2000):
        motion = limits.braking()
        limits.accept(motion, motion.state.position)
        path.append(motion.state.position)
        if motion.resting:
            break
    assert limits.motion.resting
    path += [limits.braking().state.position]
    np.testing.assert_array_equal(path[-1], path[-2])
    assert_within_limits(np.array(path), spec)


@pytest.mark.parametrize("rate", [50.0, 100.0])
def test_a_smooth_request_is_sent_as_it_is(rate: float) -> None:
    spec = arm_spec(rate)
    limits = MotionLimits(spec)
    limits.reset(np.zeros(JOINTS))

    def wave(step: int, _: Array) -> Array:
        return 0.3 * (1 - np.cos(2 * np.pi * 0.4 * step / rate)) * np.array([1.0, -1.0, 0.5])

    path = follow(limits, spec, wave, 300)[3:]
    np.testing.assert_array_equal(path, [wave(step, path[0]) for step in range(300)])


def test_steps_from_the_command_reach_the_speed_that_they_ask_for() -> None:
    spec = arm_spec()
    limits = MotionLimits(spec)
    limits.reset(np.full(JOINTS, -1.0))
    path = follow(limits, spec, lambda _, previous: previous + 0.02, 60)
    speed = np.diff(path, axis=0) * spec.control_rate
    np.testing.assert_allclose(speed[30], 2.0)
    assert_within_limits(path, spec)


@pytest.mark.parametrize("jerk", [100.0, 400.0, None])
@pytest.mark.parametrize("rate", [25.0, 100.0])
def test_a_far_request_is_reached_as_fast_as_possible_and_not_passed(rate: float, jerk: float | None) -> None:
    spec = arm_spec(rate, jerk=jerk)
    limits = MotionLimits(spec)
    limits.reset(np.full(JOINTS, -1.0))
    path = follow(limits, spec, lambda *_: np.full(JOINTS, 1.0), int(2 * rate))[3:, 0]
    assert path.max() <= 1.0 + 1e-9
    arrival = (np.flatnonzero(path < 1.0 - 1e-6)[-1] + 2) / rate
    fastest = 2.0 / 3.0 + 3.0 / 20.0 + (0.0 if jerk is None else 20.0 / jerk)
    if jerk == 100.0:
        fastest = 2.0 / 3.0 + 2 * np.sqrt(3.0 / 100.0)
    assert arrival == pytest.approx(fastest, abs=2 / rate)
    np.testing.assert_array_equal(path[-1], 1.0)


def test_a_goal_is_reached_from_any_motion() -> None:
    rng = np.random.default_rng(3)
    for rate in (25.0, 50.0, 200.0):
        spec = arm_spec(rate)
        limits = MotionLimits(spec)
        limits.reset(np.zeros(JOINTS))
        follow(limits, spec, lambda _, previous: previous + rng.normal(size=JOINTS) * 0.05, int(rate / 2))
        goal = rng.uniform(-1, 1.5, JOINTS)
        path = follow(limits, spec, lambda *_, goal=goal: goal, int(3 * rate))
        np.testing.assert_allclose(path[-2:], [goal, goal], atol=1e-12)


def test_holding_the_command_stops_the_motion() -> None:
    spec = arm_spec()
    limits = MotionLimits(spec)
    limits.reset(np.zeros(JOINTS))
    follow(limits, spec, lambda _, previous: previous + 0.01, 40)
    path = follow(limits, spec, lambda _, previous: previous, 40)
    np.testing.assert_array_equal(path[-1], path[-2])
    assert limits.motion.resting


def test_a_lower_speed_limit_slows_a_motion_down() -> None:
    spec = arm_spec()
    low, high = spec.command_limits
    limits = MotionLimits(spec)
    limits.reset(np.full(JOINTS, -1.0))
    follow(limits, spec, lambda *_: np.full(JOINTS, 1.5), 30)
    goal, slow = np.full(JOINTS, 1.5), np.full(JOINTS, 0.2)
    positions = []
    for _ in range(60):
        motion = limits.towards(goal, low, high, slow)
        limits.accept(motion, goal)
        positions.append(motion.state.position)
    np.testing.assert_allclose(np.diff(positions, axis=0)[-1], 0.2 / spec.control_rate)


def test_a_box_that_shrinks_under_a_motion_makes_it_brake() -> None:
    spec = arm_spec()
    limits = MotionLimits(spec)
    limits.reset(np.full(JOINTS, -1.0))
    path = follow(limits, spec, lambda *_: np.full(JOINTS, 1.5), 40)
    low, high = np.full(JOINTS, -1.0), path[-1] + 0.01
    motion = limits.towards(high, low, high, limits.velocity)
    assert motion.stop is limits.motion.stop


def test_what_can_be_reached_is_what_the_limits_allow() -> None:
    rng = np.random.default_rng(5)
    spec = arm_spec()
    low, high = spec.command_limits
    limits = MotionLimits(spec)
    limits.reset(np.zeros(JOINTS))
    for _ in range(300):
        lowest, highest = limits.reachable(limits.velocity)
        for beyond in (lowest - 1e-5, highest + 1e-5):
            assert limits.onto(beyond, low, high, limits.velocity) is None
        middle = limits.onto(lowest + rng.uniform(0.3, 0.7) * (highest - lowest), low, high, limits.velocity)
        motion = middle or limits.braking()
        limits.accept(motion, motion.state.position)
    rest = limits.motion.state.position
    limits.reset(rest)
    assert limits.onto(rest + 1e-5, low, high, limits.velocity) is not None
    assert limits.onto(rest + 1e-5, low, rest, limits.velocity) is None


def test_a_joint_that_speeds_up_towards_its_limit_eases_off_in_time() -> None:
    spec = arm_spec()
    limits = MotionLimits(spec)
    limits.reset(np.full(JOINTS, -1.0))
    acceleration = np.minimum(390.0 * np.arange(1, 60) / 100, 19.0)
    request = -1.0 + np.cumsum(np.cumsum(acceleration)) / 100**2
    path = follow(limits, spec, lambda step, _: np.full(JOINTS, request[min(step, 58)]), 40)
    assert_within_limits(path, spec)
    assert np.diff(path, axis=0).max() * 100 > 2.9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"velocity": None}, "joint 'joint_0' has no velocity limit"),
        ({"acceleration": None}, "joint 'joint_0' has no acceleration limit"),
        ({"jerk": 0.0}, "'joint_0' has a jerk limit of 0.0; it must be above 0"),
        ({"acceleration": np.nan}, "'joint_0' has a acceleration limit of nan"),
    ],
)
def test_what_is_needed_for_a_stop_must_be_stated(changed: dict[str, float | None], message: str) -> None:
    spec = arm_spec()
    first = dataclasses.replace(spec.joints[0], **changed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        MotionLimits(dataclasses.replace(spec, joints=(first, *spec.joints[1:])))


def test_only_positions_have_a_motion() -> None:
    with pytest.raises(ValueError, match="mode 'velocity'"):
        MotionLimits(dataclasses.replace(arm_spec(), command_mode="velocity"))
