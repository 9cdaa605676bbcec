import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hardware.robot import Observation
from robot_ctrl.build import resolve
from robot_ctrl.cli import main
from robot_ctrl.config import check_config, merge, write_config
from robot_ctrl.errors import ConfigError
from robot_ctrl.tasks import make_task
from robot_ctrl.tasks.mjcf import MjcfTask

ARM = """
<mujoco model="two_joints">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <default><joint damping="0.3" armature="0.01"/><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    <site name="flag" pos="1 1 1"/>
    <body name="target" mocap="true"><geom type="sphere" size="0.02"/></body>
    <body>
      <joint name="spin" axis="0 0 1"/>
      <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.2"/>
      <body pos="0.2 0 0">
        <joint name="bend" axis="0 0 1" range="-2 2"/>
        <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.1"/>
        <site name="tip" pos="0.2 0 0" size="0.02"/>
      </body>
    </body>
    <body pos="0 0 1">
      <freejoint name="ball"/>
      <geom type="sphere" size="0.02" mass="0.01"/>
    </body>
  </worldbody>
  <actuator>
    <position name="spin" joint="spin" kp="20" kv="1" ctrlrange="-3 3"/>
    <position name="bend" joint="bend" kp="20" kv="1" inheritrange="1"/>
  </actuator>
  <sensor><touch name="touch" site="tip"/><framequat name="way" objtype="site" objname="tip"/></sensor>
  <keyframe><key name="bent" qpos="0 1.9 0 0 1 0.70710678 0 0 0.70710678"/></keyframe>
</mujoco>
"""
EXAMPLE = Path(__file__).parents[2] / "examples" / "my_arm" / "reach.yaml"
REACH: dict[str, Any] = {
    "name": "mjcf",
    "mjcf": "arm.xml",
    "episode_steps": 5,
    "goal": {"low": [0.1, -0.3, 0], "high": [0.3, 0.3, 0], "marker": "target"},
    "cost": {
        "reach": {"kind": "site-distance", "site": "tip", "norm": "l2", "weight": 10},
        "calm": {"kind": "velocity", "weight": 0.5},
        "gently": {"kind": "control", "weight": 0.01},
    },
    "success": {"term": "reach", "below": 0.02},
    "reset": {"keyframe": "bent", "noise": 0.2},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "arm.xml").write_text(ARM)
    (tmp_path / "reach.yaml").write_text(yaml.safe_dump({"task": REACH}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def make(folder: Path, **changes: Any) -> MjcfTask:
    task = make_task(merge(REACH, {"mjcf": str(folder / "arm.xml")} | changes))
    assert isinstance(task, MjcfTask)
    task.robot.connect()
    return task


def test_the_state_holds_joints_then_what_the_cost_needs_then_commands(folder: Path) -> None:
    task = make(folder, state={"sites": ["flag"], "sensors": ["way", "touch"]})
    names = task.state_spec.names
    assert names[:2] == ("spin", "bend")
    assert names[2:11] == tuple(f"ball_{part}" for part in ("x", "y", "z", "xx", "xy", "xz", "yx", "yy", "yz"))
    assert names[11:13] == ("spin_rate", "bend_rate")
    assert names[13:19] == tuple(f"ball_{part}" for part in ("vx", "vy", "vz", "wx", "wy", "wz"))
    assert names[19:25] == ("flag_x", "flag_y", "flag_z", "tip_x", "tip_y", "tip_z")
    assert names[25:30] == ("way[0]", "way[1]", "way[2]", "way[3]", "touch")
    assert names[30:] == ("spin_command", "bend_command")
    assert task.state_spec.angles == (0,)
    command = task.state_spec.command
    assert command is not None
    assert command.columns == (30, 31)
    assert command.step == pytest.approx((1.5 / 20, 1.5 / 20))
    assert (command.low, command.high) == ((-3, -2), (3, 2))

    observation = task.robot.reset(3)
    state = dict(zip(names, task.state(observation), strict=True))
    spin, bend = observation.values["qpos"][:2]
    assert (state["spin"], state["bend"]) == (spin, bend)
    assert state["tip_x"] == pytest.approx(0.2 * np.cos(spin) + 0.2 * np.cos(spin + bend))
    assert state["flag_z"] == 1
    assert state["bend_command"] == pytest.approx(min(bend, 2))
    # The keyframe turns the ball by 90 degrees about z: its x axis points along y, its y axis along -x.
    turn = [state[f"ball_{part}"] for part in ("xx", "xy", "xz", "yx", "yy", "yz")]
    assert turn == pytest.approx([0, 1, 0, -1, 0, 0], abs=1e-7)


def test_absolute_actions_need_no_commands_in_the_state(folder: Path) -> None:
    task = make(folder, actions={"mode": "absolute"})
    assert task.state_spec.command is None
    assert "spin_command" not in task.state_spec.names
    assert task.action_scale.to_command(np.ones(2), np.zeros(2)) == pytest.approx([3, 2])


def test_starts_and_goals_are_drawn_from_the_seed(folder: Path) -> None:
    task = make(folder)
    starts = np.array([task.robot.reset(seed).values["qpos"][:2] for seed in range(50)])
    goals = np.array([task.goal(task.robot.reset(seed)) for seed in range(50)])
    assert (np.abs(starts[:, 0]) <= 0.2).all()
    assert np.ptp(starts[:, 0]) > 0.3
    assert starts[:, 1].max() == 2  # noise ends at the joint's limit
    assert (goals >= [0.1, -0.3, 0]).all()
    assert (goals <= [0.3, 0.3, 0]).all()
    assert np.ptp(goals[:, 1]) > 0.4
    assert (task.goal(task.robot.reset(7)) == goals[7]).all()


@pytest.mark.parametrize("marker", ["target", "flag"])
def test_the_marker_stands_at_the_goal(folder: Path, marker: str) -> None:
    task = make(folder, goal={"marker": marker})
    goal = task.goal(task.robot.reset(1))
    data = task.robot.data
    shown = data.body("target").xpos if marker == "target" else data.site("flag").xpos
    assert shown == pytest.approx(goal)
    assert 0.1 <= goal[0] <= 0.3


def test_a_fixed_goal_needs_no_marker(folder: Path) -> None:
    section = {key: value for key, value in REACH.items() if key != "goal"}
    task = make_task(section | {"mjcf": str(folder / "arm.xml"), "goal": {"at": [0.3, 0.1, 0]}})
    task.robot.connect()
    assert task.goal(task.robot.reset(0)).tolist() == [0.3, 0.1, 0]


def test_reward_success_and_measures_come_from_the_terms(folder: Path) -> None:
    task = make(folder)
    observation = task.robot.reset(0)
    task.robot.send_action(np.array([0.5, 1.5]))
    moving = task.robot.get_observation()
    distance = np.linalg.norm(moving.values["site:tip"] - task.goal(moving))
    speeds = moving.values["qvel"]
    assert task.reward(moving) == pytest.approx(-10 * distance - 0.5 * (speeds**2).sum())
    assert np.abs(speeds).max() > 0.01
    assert task.success([observation, moving]) is False
    measures = task.measures([observation, moving])
    assert set(measures) == {"start_reach", "final_reach", "start_calm", "final_calm"}
    assert measures["final_reach"] == pytest.approx(distance)
    assert measures["final_calm"] == pytest.approx(np.linalg.norm(speeds))
    there = Observation(0, dict(moving.values) | {"goal": moving.values["site:tip"] + [0.019, 0, 0]})
    assert task.success([observation, there]) is True


def test_terms_are_weighted_and_reported_by_name(folder: Path) -> None:
    task = make(folder)
    cost = task.cost(torch.tensor([0.3, 0.0, 0.0]))
    assert cost.weights == {"reach": 10, "calm": 0.5, "gently": 0.01}


def test_a_run_is_one_file_and_its_mjcf_is_beside_it(folder: Path) -> None:
    config = resolve("../reach.yaml", ["task.cost.reach.weight=5", "planner.horizon=7", "episodes=3"])
    assert config.task["mjcf"] == folder / "arm.xml"
    assert config.task["cost"]["reach"].weight == 5
    assert (config.planner["horizon"], config.episodes, str(config.run_dir)) == (7, 3, "runs/reach")
    write_config(config, folder / "config.yaml")
    again = check_config(yaml.safe_load((folder / "config.yaml").read_text()), "config.yaml")
    task = make_task(again.task)
    assert task.cost(torch.zeros(3)).weights["reach"] == 5  # type: ignore[attr-defined]


def test_an_mjcf_on_the_command_line_is_relative_to_where_one_is(folder: Path) -> None:
    shutil.copy(folder / "arm.xml", folder / "elsewhere" / "other.xml")
    config = resolve("../reach.yaml", ["task.mjcf=other.xml"])
    assert config.task["mjcf"] == folder / "elsewhere" / "other.xml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mjcf": "gone.xml"}, r"no file .*gone\.xml\. A run keeps the path"),
        ({"mjcf": None}, r"mjcf is missing"),
        ({"cost": {}}, r"cost has no terms"),
        ({"control_rate": 0}, r"control_rate = 0"),
        ({"control_rate": 33}, r"does not divide the physics rate"),
        ({"episode_steps": 0}, r"episode_steps = 0"),
        ({"velocity_limit": -1}, r"velocity_limit = -1"),
        ({"episode_step": 3}, r"Did you mean 'episode_steps'"),
        ({"actuators": ["spim"]}, r"no actuator 'spim'; did you mean 'spin'"),
        ({"state": {"sites": ["tib"]}}, r"no site 'tib'; did you mean 'tip'"),
        ({"state": {"sensors": ["touhc"]}}, r"unknown sensor 'touhc'. Did you mean 'touch'"),
        ({"reset": {"keyframe": "bend"}}, r"no keyframe 'bend'; did you mean 'bent'"),
        ({"goal": {"at": [0, 0, 0]}}, r"either a point \(at\) or a box"),
        ({"goal": {"high": None}}, r"either a point \(at\) or a box"),
        ({"goal": {"low": [0.1, 0.4, 0]}}, r"low exceeds high along y: 0.4 > 0.3"),
        ({"goal": {"low": [0.1, float("nan"), 0]}}, r"task\.goal\.low\.1 = nan: .* finite"),
        ({"goal": {"marker": None}}, r"needs a marker"),
        ({"goal": {"marker": "targe"}}, r"goal\.marker: unknown .* Did you mean 'target'"),
        ({"goal": {"marker": "tip"}}, r"goal\.marker: unknown mocap body or site of the world 'tip'"),
        ({"goal": None}, r"cost\.reach: to: goal, but the task has no goal"),
        ({"success": {"term": "reech"}}, r"success\.term: .* Did you mean 'reach'"),
        ({"success": {"term": "gently"}}, r"success\.term: unknown term of the state 'gently'"),
        ({"success": {"below": 0}}, r"task\.success\.below = 0"),
        ({"cost": {"pose": {"kind": "posture", "pose": {"bent": 1}}}}, r"cost\.pose: .*Did you mean 'bend'"),
        ({"cost": {"pose": {"kind": "posture", "pose": {"ball": 1}}}}, r"cost\.pose: unknown hinge or slide"),
        ({"cost": {"calm": {"joints": ["spni"]}}}, r"cost\.calm: unknown joint 'spni'. Did you mean 'spin'"),
        ({"cost": {"reach": {"norm": "l3"}}}, r"task\.cost\.reach\.norm = 'l3': .*'smooth'"),
        ({"cost": {"reach": {"kind": "distance"}}}, r"task\.cost\.reach\.kind = 'distance': .*'site-distance'"),
        ({"cost": {"final": {"kind": "velocity"}}}, r"a step is named \['final'\]"),
    ],
)
def test_what_cannot_be_used_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    section = merge(REACH, {"mjcf": str(folder / "arm.xml")} | changes)
    if changes == {"cost": {}}:
        section["cost"] = {}
    with pytest.raises(ConfigError, match=message):
        make_task(section)


def test_delta_actions_need_position_commands(folder: Path) -> None:
    (folder / "arm.xml").write_text(
        ARM.replace('<position name="spin" joint="spin" kp="20" kv="1"', '<motor name="spin" joint="spin"')
    )
    with pytest.raises(ConfigError, match="takes effort commands; use absolute"):
        make(folder, actuators=["spin"], actions={"mode": "delta"})
    assert make(folder, actuators=["spin"]).action_scale.mode == "absolute"


def test_the_command_line_says_in_one_line_what_does_not_compile(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "arm.xml").write_text("<mujoco><worldbody><bodi/></worldbody></mujoco>")
    assert main(["run", "../reach.yaml"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "arm.xml does not compile" in line
    assert "bodi" in line


def test_a_run_whose_mjcf_is_gone_says_so_on_resume(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["learning.show_episodes=0", "episodes=1", "threads=1", "task.episode_steps=3"]
    assert main(["run", "../reach.yaml", *tiny]) == 0
    (folder / "arm.xml").rename(folder / "moved.xml")
    assert main(["resume", "runs/reach", "episodes=2"]) == 2
    assert "A run keeps the path of its MJCF, not a copy: put the file back" in capsys.readouterr().err
    (folder / "moved.xml").rename(folder / "arm.xml")
    assert main(["resume", "runs/reach", "episodes=2"]) == 0


def test_learning_from_a_yaml_file_brings_the_tip_closer(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ["model.members=3", "model.particles=3", "model.hidden=[100, 100]", "threads=1"]
    budget = ["episodes=16", "learning.random_episodes=6", "learning.show_episodes=0"]
    assert main(["run", str(EXAMPLE), f"run_dir={run}", *small, *budget]) == 0
    assert main(["evaluate", str(run), "--episodes", "6"]) == 0
    trials = json.loads((run / "evaluation.json").read_text())["each"]
    start = np.median([trial["start_reach"] for trial in trials])
    final = np.median([trial["final_reach"] for trial in trials])
    assert start > 0.1
    assert final < 0.5 * start
