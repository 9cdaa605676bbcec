from pathlib import Path

import pytest
import torch
from tiny_runs import POINT_MASS

from robot_ctrl.build import complete, make_parts, make_safety, resolve
from robot_ctrl.config import check_config, read_yaml, write_config
from robot_ctrl.errors import ConfigError
from robot_ctrl.tasks import make_task


def test_layers_go_over_each_other(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("task: {name: cartpole-swingup}\nplanner: {population: 32, elites: 4}\nepisodes: 7\n")
    config = resolve(str(file), ["planner.elites=5", "model.hidden=[8, 8]"])
    assert config.planner["horizon"] == 25
    assert (config.planner["population"], config.planner["elites"]) == (32, 5)
    assert config.planner["name"] == "icem"
    assert (config.episodes, config.env_steps) == (7, 10_000)
    assert config.model["hidden"] == (8, 8)
    assert config.run_dir == Path("runs/mine")


@pytest.mark.parametrize("task", ["arm-reach", "cartpole-swingup", "dmc:reacher-easy", "gym:Pendulum-v1", POINT_MASS])
def test_every_setting_survives_the_file_that_repeats_the_run(task: str, tmp_path: Path) -> None:
    config = resolve(task, [])
    write_config(config, tmp_path / "config.yaml")
    again = complete(check_config(read_yaml(tmp_path / "config.yaml"), "config.yaml"))
    assert again == config
    assert again.planner["population"] > 0
    assert again.model["members"] == 5


@pytest.mark.parametrize(("task", "folder"), [("arm-reach", "arm-reach"), ("dmc:walker-run", "dmc-walker-run")])
def test_runs_are_named_after_their_tasks(task: str, folder: str) -> None:
    assert resolve(task, []).run_dir == Path("runs") / folder


def test_the_runs_limits_tighten_the_robots_and_never_loosen_them() -> None:
    config = resolve("arm-reach", ["robot.max_velocity=0.5"])
    task = make_task(config.task)
    task.robot.connect()
    command = task.robot.reset(0).values["command"]
    sent = make_safety(config, task).send(task.robot, command + 0.1)
    assert sent.sent - command == pytest.approx(0.5 * task.period)
    loose = make_safety(resolve("arm-reach", ["robot.max_velocity=1000"]), task)
    own = max(joint.velocity or 0 for joint in task.robot.spec.joints)
    command = task.robot.reset(0).values["command"]
    moved = loose.send(task.robot, command + 10).sent - command
    assert moved.max() <= own * task.period * 1.0001


def test_threads_are_as_asked_for() -> None:
    make_parts(resolve(POINT_MASS, ["threads=1"]))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("task", ["dmc:cartpole-balance", "gym:Pendulum-v1"])
def test_any_environment_is_a_task_with_a_learned_reward(task: str) -> None:
    parts = make_parts(resolve(task, ["threads=1", "model.hidden=[8]"]))
    assert parts[0].learns_reward
    assert isinstance(parts[0].episode_steps, int)
    observation = parts[0].robot.reset(0)
    assert parts[0].state(observation).shape == (parts[0].state_spec.size,)


@pytest.mark.parametrize(
    ("task", "angles"),
    [
        ("dmc:reacher-easy", {"position[0]"}),
        ("dmc:cheetah-run", {"position[1]"}),
        ("dmc:cartpole-swingup", set()),
        ("gym:HalfCheetah-v5", {"observation[1]"}),
        ("gym:Pendulum-v1", set()),
    ],
)
def test_angles_of_any_environment_are_found_where_they_turn_without_end(task: str, angles: set[str]) -> None:
    spec = make_parts(resolve(task, ["threads=1", "model.hidden=[8]"]))[0].state_spec
    assert {spec.names[index] for index in spec.angles} == angles


def test_another_planner_does_not_inherit_the_settings_of_the_task_s_own() -> None:
    own = resolve("finger-spin", []).planner
    other = resolve("finger-spin", ["planner.name=cem"]).planner
    assert own["beta"] == 0.5
    assert "beta" not in other
    assert other["horizon"] == own["horizon"]
    assert resolve("finger-spin", ["planner.name=icem", "planner.beta=1.0"]).planner["beta"] == 1.0


def test_a_policy_and_its_value_are_refused_where_it_cannot_see_what_costs_depend_on() -> None:
    with pytest.raises(ConfigError, match="another goal in each episode"):
        make_parts(resolve("arm-reach", ["threads=1", "value={}"]))
    with pytest.raises(ConfigError, match=r"unknown.*'gamma'"):
        resolve("finger-spin", ["value.gamma=0.9"])
    with pytest.raises(ConfigError, match="discount is 1"):
        make_parts(resolve("finger-spin", ["threads=1", "value.discount=1"]))
