"""Control-suite tasks as robots: compared with the suite itself."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from dm_control import suite

from hardware.dm_control_robot import DmControlRobot
from hardware.errors import EpisodeOverError


def test_rewards_are_summed_and_steps_counted_over_the_action_repeat() -> None:
    robot = DmControlRobot("cartpole", "swingup", action_repeat=4)
    robot.connect()
    robot.reset(5)
    reference = suite.load("cartpole", "swingup", task_kwargs={"random": 5})
    reference.task.random.seed(5)
    reference.reset()
    rng = np.random.default_rng(0)
    for count in range(1, 6):
        action = rng.uniform(-1, 1, 1)
        robot.send_action(action)
        steps = [reference.step(action) for _ in range(4)]
        values = robot.get_observation().values
        assert values["reward"] == pytest.approx(sum(step.reward for step in steps), abs=1e-12)
        assert robot.env_steps == 4 * count
        for name, value in steps[-1].observation.items():
            np.testing.assert_array_equal(values[name], value, err_msg=name)
        np.testing.assert_array_equal(values["qpos"], reference.physics.data.qpos)


def test_the_spec_is_readable_before_connecting() -> None:
    robot = DmControlRobot("reacher", "easy", action_repeat=2, points={"finger": "geom:finger"})
    assert not robot.is_connected
    assert robot.spec.name == "reacher-easy"
    assert [joint.name for joint in robot.spec.joints] == ["shoulder", "wrist"]
    assert [joint.command for joint in robot.spec.joints] == [(-1.0, 1.0)] * 2
    assert robot.spec.command_mode == "normalized"
    assert robot.spec.control_rate == pytest.approx(25.0)
    assert robot.episode_steps == 500
    robot.connect()
    assert robot.get_observation().values["finger"].shape == (3,)


def test_sensors_and_bodies_can_be_observed_by_name() -> None:
    robot = DmControlRobot("finger", "spin", points={"touch": "sensor:touchtop", "spinner": "body:spinner"})
    robot.connect()
    values = robot.get_observation().values
    physics = robot._env.physics
    np.testing.assert_array_equal(values["touch"], physics.named.data.sensordata["touchtop"])
    np.testing.assert_array_equal(values["spinner"], physics.named.data.xpos["spinner"])
    with pytest.raises(ValueError, match="no sensor 'touchtip'; did you mean 'touchtop'"):
        DmControlRobot("finger", "spin", points={"touch": "sensor:touchtip"})


def test_the_end_of_an_episode() -> None:
    robot = DmControlRobot("cartpole", "balance", action_repeat=3, time_limit=0.1)
    robot.connect()
    assert robot.episode_steps == 4
    for step in range(4):
        assert robot.get_observation().values["truncated"] == 0, step
        robot.send_action(np.zeros(1))
    values = robot.get_observation().values
    assert (values["truncated"], values["terminated"]) == (1, 0)
    assert robot.env_steps == 10
    with pytest.raises(EpisodeOverError, match=r"after 10 environment steps; call reset"):
        robot.send_action(np.zeros(1))
    assert robot.reset(0).values["truncated"] == 0
    robot.send_action(np.zeros(1))


def test_a_discount_of_zero_terminates(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = DmControlRobot("cartpole", "balance", action_repeat=5)
    robot.connect()
    monkeypatch.setattr(robot._env.task, "get_termination", lambda physics: 0.0)
    robot.send_action(np.zeros(1))
    values = robot.get_observation().values
    assert (values["terminated"], values["truncated"]) == (1, 0)
    assert robot.env_steps == 1, "nothing is repeated after the end"


@pytest.mark.parametrize(
    ("domain", "task", "message"),
    [
        ("cartpol", "swingup", "no dm_control domain 'cartpol'; did you mean 'cartpole'"),
        ("cartpole", "swing_up", "cartpole: there is no task 'swing_up'; did you mean 'swingup'"),
    ],
)
def test_unknown_names_list_close_ones(domain: str, task: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DmControlRobot(domain, task)


def test_an_action_repeat_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="action_repeat is 0; it must be 1 or more"):
        DmControlRobot("cartpole", "swingup", action_repeat=0)


def test_the_applications_logging_is_left_alone() -> None:
    code = (
        "import logging; from hardware.dm_control_robot import DmControlRobot\n"
        "DmControlRobot('cheetah', 'run')\n"
        "assert logging.root.handlers == []; assert logging.root.level == logging.WARNING"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert logging.getLogger("absl").level != logging.ERROR
