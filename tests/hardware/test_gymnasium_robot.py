"""Gymnasium environments as robots: compared with the environments themselves."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from hardware.errors import EpisodeOverError, RenderingUnavailableError
from hardware.gymnasium_robot import GymnasiumRobot


class Grasp(gymnasium.Env[Any, Any]):
    """An environment with a dictionary of observations that ends at once when it is pushed hard."""

    observation_space = gymnasium.spaces.Dict(
        {
            "b": gymnasium.spaces.Box(-9, 9, (2,)),
            "a": gymnasium.spaces.Dict({"z": gymnasium.spaces.Box(-9, 9, (1, 2))}),
        }
    )
    action_space = gymnasium.spaces.Box(np.array([-2.0, -1.0]), np.array([2.0, 1.0]), dtype=np.float64)
    metadata = {"render_modes": [], "render_fps": 40}  # noqa: RUF012

    def __init__(self) -> None:
        self.position = np.zeros(2)

    def _observation(self) -> dict[str, Any]:
        return {"b": self.position, "a": {"z": self.position[None] * 10}}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 2)
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.position = self.position + action
        return self._observation(), float(action[0]), bool(action[0] > 1.5), False, {}


gymnasium.register("Grasp-v0", entry_point=Grasp, max_episode_steps=7)


def test_rewards_are_summed_and_steps_counted_over_the_action_repeat() -> None:
    robot = GymnasiumRobot("HalfCheetah-v5", action_repeat=3, points={"torso": "body:torso"})
    robot.connect()
    robot.reset(5)
    reference = gymnasium.make("HalfCheetah-v5")
    reference.reset(seed=5)
    rng = np.random.default_rng(0)
    for count in range(1, 5):
        action = rng.uniform(-1, 1, 6)
        robot.send_action(action)
        steps = [reference.step(action.astype(np.float32)) for _ in range(3)]
        values = robot.get_observation().values
        assert values["reward"] == pytest.approx(sum(float(step[1]) for step in steps), abs=1e-12)
        np.testing.assert_array_equal(values["observation"], steps[-1][0])
        np.testing.assert_array_equal(values["qpos"][1:], steps[-1][0][:8])
        assert values["torso"].shape == (3,)
        assert robot.env_steps == 3 * count
    assert robot.spec.control_rate == pytest.approx(20 / 3)
    assert robot.episode_steps == 334


def test_dictionaries_are_flattened_by_key() -> None:
    robot = GymnasiumRobot("Grasp-v0")
    robot.connect()
    values = robot.reset(1).values
    x, y = values["observation"][2:]
    np.testing.assert_allclose(values["observation"], [10 * x, 10 * y, x, y])
    assert "qpos" not in values
    assert robot.spec.control_rate == 40
    assert [joint.command for joint in robot.spec.joints] == [(-2.0, 2.0), (-1.0, 1.0)]
    assert robot.spec.command_mode == "effort"


def test_the_ends_of_an_episode() -> None:
    robot = GymnasiumRobot("Grasp-v0", action_repeat=3)
    robot.connect()
    robot.send_action(np.array([2.0, 0.0]))
    values = robot.get_observation().values
    assert (values["terminated"], values["truncated"], values["reward"]) == (1, 0, 2)
    assert robot.env_steps == 1
    with pytest.raises(EpisodeOverError, match=r"call reset\(seed\)"):
        robot.send_action(np.zeros(2))
    robot.reset(0)
    for _ in range(3):
        robot.send_action(np.zeros(2))
    values = robot.get_observation().values
    assert (values["terminated"], values["truncated"]) == (0, 1)
    assert robot.env_steps == 7


def test_the_time_limit_is_part_of_the_state() -> None:
    robot = GymnasiumRobot("Reacher-v5")
    robot.connect()
    for _ in range(45):
        robot.send_action(np.zeros(2))
    saved = robot.get_state()
    robot.reset(0)
    robot.set_state(saved)
    for _ in range(5):
        assert robot.get_observation().values["truncated"] == 0
        robot.send_action(np.zeros(2))
    assert robot.get_observation().values["truncated"] == 1


def test_what_only_mujoco_environments_can_do() -> None:
    robot = GymnasiumRobot("Grasp-v0")
    robot.connect()
    with pytest.raises(NotImplementedError, match="Grasp-v0 is not a MuJoCo environment"):
        robot.get_state()
    with pytest.raises(NotImplementedError, match="Grasp-v0"):
        robot.set_state(np.zeros(3))
    with pytest.raises(RenderingUnavailableError, match="Grasp-v0"):
        robot.render()
    with pytest.raises(ValueError, match="no points"):
        GymnasiumRobot("Grasp-v0", points={"tip": "body:tip"})


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"CartPole-v1 has actions of the kind Discrete\(2\).*continuous actions"):
        GymnasiumRobot("CartPole-v1")


@pytest.mark.parametrize("env_id", ["HalfCheeta-v5", "HalfCheetah-v99"])
def test_unknown_names_list_close_ones(env_id: str) -> None:
    with pytest.raises(ValueError, match=f"no Gymnasium environment '{env_id}'; did you mean .*'HalfCheetah-v5'"):
        GymnasiumRobot(env_id)


def test_a_missing_package_is_named() -> None:
    def needs_box2d() -> None:
        raise gymnasium.error.DependencyNotInstalled('run `pip install "gymnasium[box2d]"`')

    gymnasium.register("Missing-v0", entry_point=needs_box2d)
    with pytest.raises(ModuleNotFoundError, match=r"Missing-v0 needs .*pip install"):
        GymnasiumRobot("Missing-v0")


def test_settings_reach_the_environment() -> None:
    robot = GymnasiumRobot("HalfCheetah-v5", exclude_current_positions_from_observation=False)
    robot.connect()
    assert robot.get_observation().values["observation"].shape == (18,)
