from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hardware.errors import RenderingUnavailableError
from hardware.robot import Observation
from models.dynamics import Rollout
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.build import resolve
from robot_ctrl.errors import ConfigError, RunError
from robot_ctrl.goal import read_picture
from robot_ctrl.goals.goal_cost import goal_cost
from robot_ctrl.goals.perception import Perception
from robot_ctrl.tasks.reacher_goal_image import ALREADY_THERE, ReacherGoalImage

PERIOD = 0.1


class Remembering:
    """An image model whose state is how many frames it remembers, and the action since the last one."""

    device = torch.device("cpu")

    def observe(self, seen: Mapping[str, Any], memory: int | None, action: torch.Tensor | None) -> tuple[Any, int]:
        count = 1 if memory is None else memory + 1
        return torch.tensor([float(count), -9.0 if action is None else float(action[0])]), count

    def distance(self, states: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return (states - goal).norm(dim=-1)


def observation(sequence: int, time: float, command: float = 0.0) -> Observation:
    return Observation(sequence, {"command": np.array([command])}, {}, {"camera": time}, {"camera": time})


def perception() -> Perception:
    low, high = np.array([-2.0]), np.array([2.0])
    return Perception(Remembering(), ActionScale("absolute", low, high, high - low), PERIOD)  # type: ignore[arg-type]


def test_memory_goes_on_from_period_to_period_and_learns_what_was_sent() -> None:
    seeing = perception()
    assert seeing.state(observation(4, 1.0)).tolist() == [1, -9]
    assert seeing.state(observation(5, 1.1, command=1.0)).tolist() == [2, 0.5]
    assert seeing.state(observation(6, 1.2, command=-2.0)).tolist() == [3, -1]


def test_the_same_observation_may_be_asked_for_twice() -> None:
    seeing, first = perception(), observation(4, 1.0)
    assert seeing.state(first).tolist() == seeing.state(first).tolist() == [1, -9]


@pytest.mark.parametrize(
    "then", [observation(5, 1.0), observation(5, 1.3), observation(6, 1.2)], ids=["reset", "pause", "gap"]
)
def test_memory_starts_anew_after(then: Observation) -> None:
    seeing = perception()
    seeing.state(observation(4, 1.0))
    assert seeing.state(then).tolist() == [1, -9]


def test_nothing_is_remembered_from_the_episode_before_even_without_a_pause() -> None:
    seeing = perception()
    seeing.state(observation(4, 1.0))
    seeing.forget()
    assert seeing.state(observation(6, 1.1)).tolist() == [1, -9]


def test_doubt_costs_only_where_members_disagree() -> None:
    apart = torch.zeros(2, 2, 3, 2)
    apart[0, 1, 1:, 0], apart[1, 1, 1:, 0] = 1.0, 3.0
    apart[:, 0, 1:, 0] = 2.0
    actions = torch.zeros(2, 2, 1)
    actions[0] = 0.5
    cost = goal_cost(Remembering(), torch.zeros(2), doubt=0.5, effort=2.0)  # type: ignore[arg-type]
    terms = cost.terms(Rollout(apart), actions)
    assert terms["distance"].tolist() == [[4, 2], [4, 6]]
    assert terms["doubt"].tolist() == [[0, 1], [0, 1]]
    assert terms["control"].tolist() == [[1, 0], [1, 0]]
    assert torch.equal(cost(Rollout(apart), actions), sum(terms.values()))
    last = goal_cost(Remembering(), torch.zeros(2), last_step_only=True)  # type: ignore[arg-type]
    assert last.terms(Rollout(apart), actions)["distance"].tolist() == [[2, 1], [2, 3]]


@pytest.fixture(scope="module")
def reacher() -> ReacherGoalImage:
    task = ReacherGoalImage(picture_size=32)
    task.robot.connect()
    try:
        task.robot.reset(0)
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    return task


def test_goals_are_away_from_the_start_and_come_back_with_the_seed(reacher: ReacherGoalImage) -> None:
    for seed in range(20):
        first = reacher.robot.reset(seed)
        assert reacher.measures([first])["start_distance"] >= ALREADY_THERE
        assert not reacher.success([first])
    again = reacher.robot.reset(19)
    assert np.array_equal(first.values["goal_pose"], again.values["goal_pose"])
    assert np.array_equal(first.images["fixed"], again.images["fixed"])
    assert not np.array_equal(first.values["goal_pose"], reacher.robot.reset(18).values["goal_pose"])


def test_the_camera_sees_the_arm_and_not_the_goal(reacher: ReacherGoalImage) -> None:
    for seed in range(3):
        first = reacher.robot.reset(seed)
        assert np.array_equal(reacher.picture_of(first.values["qpos"]), first.images["fixed"])


def test_the_goal_picture_shows_the_goal(reacher: ReacherGoalImage) -> None:
    first = reacher.robot.reset(5)
    picture = reacher.goal(first)
    assert picture.shape == (32, 32, 3)
    assert np.array_equal(picture, reacher.picture_of(first.values["goal_pose"]))
    assert np.abs(picture - first.images["fixed"]).max() > 50
    there = replace(first, values=dict(first.values) | {"finger": first.values["goal_tip"]})
    assert reacher.success([first, there])
    assert reacher.distance_to(there, first.values["goal_pose"]) == pytest.approx(0, abs=1e-9)


def test_a_pose_that_does_not_exist_is_refused(reacher: ReacherGoalImage) -> None:
    with pytest.raises(ValueError, match=r"within \[-2.79, 2.79\] rad"):
        reacher.picture_of(np.array([0.0, 3.0]))


def test_a_model_that_sees_no_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="joint-embedding"):
        resolve("reacher-goal-image", ["model.name=ensemble"])
    with pytest.raises(ConfigError, match="ensemble"):
        resolve("cartpole-swingup", ["model.name=joint-embedding"])


def test_settings_of_an_image_model_are_checked() -> None:
    assert resolve("reacher-goal-image", ["model.latent_size=16"]).model["latent_size"] == 16
    with pytest.raises(ConfigError, match="hiden"):
        resolve("reacher-goal-image", ["model.hiden=[8]"])


def test_goal_pictures_are_scaled_and_bad_ones_refused(tmp_path: Path) -> None:
    red = np.zeros((128, 128, 3), np.uint8)
    red[..., 2] = 200
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert read_picture(tmp_path / "red.png", (64, 64)).tolist() == np.full((64, 64, 3), [200, 0, 0]).tolist()
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((64, 128, 3), np.uint8))
    with pytest.raises(RunError, match="crop it"):
        read_picture(tmp_path / "wide.png", (64, 64))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RunError, match="not a picture"):
        read_picture(tmp_path / "text.png", (64, 64))
    with pytest.raises(RunError, match="no such picture"):
        read_picture(tmp_path / "none.png", (64, 64))
