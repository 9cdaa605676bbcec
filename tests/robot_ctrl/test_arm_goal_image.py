import mujoco
import numpy as np
import pytest

from hardware.errors import RenderingUnavailableError
from robot_ctrl.build import resolve
from robot_ctrl.tasks.arm_goal_image import ALREADY_THERE, CAMERA, ArmGoalImage


@pytest.fixture(scope="module")
def task() -> ArmGoalImage:
    made = ArmGoalImage()
    made.robot.connect()
    try:
        made.robot.get_observation()
    except RenderingUnavailableError:
        pytest.skip("this machine cannot draw")
    return made


def test_goals_are_another_pose_some_way_off_and_the_same_for_a_seed(task: ArmGoalImage) -> None:
    pictures = []
    for seed in (1, 2, 1):
        observation = task.robot.reset(seed)
        assert task.measures([observation])["start_distance"] > ALREADY_THERE
        assert not task.success([observation])
        pictures.append(task.goal_picture(observation))
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])


def test_the_goal_picture_shows_the_arm_where_the_target_is(task: ArmGoalImage) -> None:
    observation = task.robot.reset(3)
    there = task.goal_picture(observation)
    task.robot.data.qpos[:] = task._goal_pose
    mujoco.mj_forward(task.robot.model, task.robot.data)
    arrived = task.robot.get_observation()
    assert np.array_equal(arrived.images[CAMERA], there)
    assert task.success([arrived])
    assert task.distance_to(arrived, task._goal_pose) == pytest.approx(0.0, abs=1e-9)


def test_the_camera_does_not_see_the_target(task: ArmGoalImage) -> None:
    seen = task.robot.reset(4).images[CAMERA]
    task.robot.set_target("target", np.array([0.2, 0.1, 0.2]))
    assert np.array_equal(task.robot.get_observation().images[CAMERA], seen)


def test_every_joint_can_be_told_from_the_picture(task: ArmGoalImage) -> None:
    ready = np.array([0.0, -0.65, 0.75, 0.5, 0.0, 0.2])
    for joint in range(6):
        moved = ready.copy()
        moved[joint] += 0.25
        assert (task.picture_of(ready) != task.picture_of(moved)).any(-1).sum() > 10


@pytest.mark.parametrize("joints", [[0.0] * 5, [9.0, 0, 0, 0, 0, 0], [np.nan, 0, 0, 0, 0, 0]])
def test_impossible_poses_are_refused(task: ArmGoalImage, joints: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no pose of the arm.*shoulder_pan -1\.92 to 1\.92"):
        task.picture_of(np.array(joints))


def test_proprioception_joins_the_picture_unless_left_out() -> None:
    assert ArmGoalImage().model_spec.proprioception_size == 18
    assert ArmGoalImage(proprioception=False).model_spec.proprioception_size == 0
    assert resolve("arm-goal-image", []).episodes == 610
