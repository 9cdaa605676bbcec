"""What every simulated robot promises, on robots of all three kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.arms.so101 import so101_push
from hardware.clock import VirtualClock
from hardware.dm_control_robot import DmControlRobot
from hardware.errors import CommandRefusedError, NotConnectedError, StoppedError
from hardware.gymnasium_robot import GymnasiumRobot
from hardware.robot import Observation, SimulatedRobot
from hardware.simulated import Simulation


def _scatter(model: Any, data: Any, rng: np.random.Generator) -> None:
    data.qpos[:4] += rng.uniform(-0.1, 0.1, 4)
    data.joint("puck_x").qpos[0] = rng.uniform(0.18, 0.24)


ROBOTS: dict[str, Callable[[], Simulation]] = {
    "so101": lambda: reaching_arm("so101"),
    "so101_push": lambda: so101_push(on_reset=_scatter),
    "reacher": lambda: DmControlRobot("reacher", "easy", action_repeat=2),
    "finger": lambda: DmControlRobot("finger", "turn_hard"),
    "hopper": lambda: DmControlRobot("hopper", "hop", action_repeat=4),
    "quadruped": lambda: DmControlRobot("quadruped", "walk"),
    "swimmer": lambda: DmControlRobot("swimmer", "swimmer6"),
    "half-cheetah": lambda: GymnasiumRobot("HalfCheetah-v5", action_repeat=2),
    "ant": lambda: GymnasiumRobot("Ant-v5", terminate_when_unhealthy=False),
    "humanoid": lambda: GymnasiumRobot("Humanoid-v5", terminate_when_unhealthy=False),
    "pusher": lambda: GymnasiumRobot("Pusher-v5"),
}
RANDOM_STARTS = sorted(set(ROBOTS) - {"so101"})


@pytest.fixture(params=sorted(ROBOTS))
def robot(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    robot = ROBOTS[request.param]()
    robot.connect()
    yield robot
    robot.disconnect()


def actions(robot: Simulation, count: int, seed: int = 0) -> np.ndarray:
    low, high = robot.spec.command_limits
    return np.random.default_rng(seed).uniform(low, high, (count, robot.spec.action_size))


def play(robot: Simulation, commands: np.ndarray) -> list[Observation]:
    observations = []
    for command in commands:
        robot.send_action(command)
        observations.append(robot.get_observation())
    return observations


def assert_same(left: Observation, right: Observation) -> None:
    assert left.values.keys() == right.values.keys()
    for name, value in left.values.items():
        np.testing.assert_array_equal(value, right.values[name], err_msg=name)


def test_is_a_simulated_robot(robot: Simulation) -> None:
    complete: SimulatedRobot = robot
    assert complete.spec.action_size == len(complete.spec.joints) > 0


def test_the_same_seed_gives_the_same_episode(robot: Simulation) -> None:
    commands = actions(robot, 12)
    first = [robot.reset(7), *play(robot, commands)]
    robot.reset(8)
    play(robot, actions(robot, 5, seed=1))
    second = [robot.reset(7), *play(robot, commands)]
    for left, right in zip(first, second, strict=True):
        assert_same(left, right)


@pytest.mark.parametrize("name", RANDOM_STARTS)
def test_another_seed_gives_another_start(name: str) -> None:
    robot = ROBOTS[name]()
    robot.connect()
    assert not np.array_equal(robot.reset(1).values["qpos"], robot.reset(2).values["qpos"])


def test_a_restored_state_goes_on_bit_for_bit(robot: Simulation) -> None:
    robot.reset(3)
    play(robot, actions(robot, 15))
    saved, seen = robot.get_state(), robot.get_observation()
    commands = actions(robot, 12, seed=1)
    expected = play(robot, commands)
    robot.reset(4)
    play(robot, actions(robot, 3, seed=2))
    robot.set_state(saved)
    assert_same(robot.get_observation(), seen)
    np.testing.assert_array_equal(robot.get_state(), saved)
    for left, right in zip(play(robot, commands), expected, strict=True):
        assert_same(left, right)


def test_a_fresh_robot_takes_over_a_state(robot: Simulation, request: pytest.FixtureRequest) -> None:
    robot.reset(3)
    play(robot, actions(robot, 10))
    twin = ROBOTS[request.node.callspec.params["robot"]]()
    twin.connect()
    twin.set_state(robot.get_state())
    commands = actions(robot, 5, seed=1)
    for left, right in zip(play(twin, commands), play(robot, commands), strict=True):
        assert_same(left, right)


def test_a_state_of_another_size_is_refused(robot: Simulation) -> None:
    with pytest.raises(ValueError, match="shape"):
        robot.set_state(robot.get_state()[:-1])


def test_a_command_advances_the_clock_by_one_period(robot: Simulation) -> None:
    period = 1 / robot.spec.control_rate
    start = robot.clock.now()
    simulated = robot._model_and_data()[1].time
    sent = robot.send_action(np.zeros(robot.spec.action_size))
    assert sent.time == start
    assert robot.clock.now() == pytest.approx(start + period)
    assert robot._model_and_data()[1].time - simulated == pytest.approx(period)


def test_robots_can_share_a_clock() -> None:
    clock = VirtualClock(10.0)
    robot = reaching_arm("so101", clock=clock)
    robot.connect()
    robot.send_action(robot.get_observation().values["command"])
    assert clock.now() == pytest.approx(10.04)


def test_observations_are_counted_timed_and_independent(robot: Simulation) -> None:
    before = robot.get_observation()
    copy = {name: value.copy() for name, value in before.values.items()}
    robot.send_action(actions(robot, 1)[0])
    after = robot.get_observation()
    assert after.sequence == before.sequence + 1
    period = 1 / robot.spec.control_rate
    for source, start in after.read_start.items():
        assert before.read_end[source] + period == pytest.approx(start)
        assert start <= after.read_end[source]
    for name, value in copy.items():
        np.testing.assert_array_equal(before.values[name], value, err_msg=name)
        assert after.values[name].dtype == np.float64


def test_the_command_in_force_is_observed(robot: Simulation) -> None:
    command = actions(robot, 1)[0]
    np.testing.assert_array_equal(robot.send_action(command).sent, command)
    np.testing.assert_array_equal(robot.get_observation().values["command"], command)


def test_the_spec_can_be_read_and_nothing_else_while_disconnected(robot: Simulation) -> None:
    robot.disconnect()
    robot.disconnect()
    assert robot.spec.action_size > 0
    with pytest.raises(NotConnectedError, match=r"connect\(\)"):
        robot.get_observation()
    with pytest.raises(NotConnectedError):
        robot.send_action(np.zeros(robot.spec.action_size))
    with pytest.raises(NotConnectedError):
        robot.reset(0)
    robot.connect()
    assert robot.get_observation().sequence == 0


def test_a_stop_latches_until_it_is_cleared(robot: Simulation) -> None:
    command = robot.get_observation().values["command"]
    robot.stop("a hand in the workspace")
    before = robot.get_observation()
    with pytest.raises(StoppedError, match=r"a hand in the workspace.*clear_fault"):
        robot.send_action(command)
    assert_same(robot.get_observation(), before)
    robot.clear_fault()
    robot.send_action(command)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_robot_itself_refuses_what_is_not_finite(robot: Simulation, bad: float) -> None:
    command = np.zeros(robot.spec.action_size)
    command[-1] = bad
    now = robot.clock.now()
    with pytest.raises(CommandRefusedError, match="SafetyFilter"):
        robot.send_action(command)
    assert robot.clock.now() == now
