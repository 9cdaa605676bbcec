import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from squares import SIZE, SPEC, draw, step_of, wander, with_pixel

from models.image.foresight import Foresight
from models.image.foresight_motion import belief_at, expected_distance, expected_pixel, move, move_belief
from models.image.foresight_network import MotionNetwork
from models.image.foresight_robot import LinearRobot
from models.image.frames import FrameSequences, ImageSpec

SMALL = {"members": 2, "kernels": 4, "width": 8, "unroll": 2, "batch_size": 16, "first_steps": 150}


@cache
def fitted() -> Foresight:
    settings = SMALL | {"members": 1, "first_steps": 200, "learning_rate": 5e-3}
    model = Foresight(SPEC, **settings)  # type: ignore[arg-type]
    model.fit(wander(40, 8, seed=0), generator=torch.Generator().manual_seed(0))
    return model


def shift(columns: int, rows: int, side: int = 5) -> Tensor:
    """The kernel (1, 1, k·k) that moves things right and down."""
    kernel = torch.zeros(side, side)
    kernel[side // 2 - rows, side // 2 - columns] = 1.0
    return kernel.view(1, 1, -1)


def everywhere(count: int, height: int, width: int) -> Tensor:
    """Masks (1, 1 + count, H, W) that share everything among the kernels."""
    masks = torch.full((1, 1 + count, height, width), 1.0 / count)
    masks[:, 0] = 0
    return masks


def test_a_shifted_kernel_moves_a_picture_and_a_belief_alike() -> None:
    belief = belief_at(torch.tensor([3.25, 4.0]), 10, 12)
    assert belief.sum() == pytest.approx(1.0)
    assert expected_pixel(belief).tolist() == pytest.approx([3.25, 4.0])
    moved = move_belief(belief[None], belief[None], shift(2, -1), everywhere(1, 10, 12))[0]
    assert expected_pixel(moved).tolist() == pytest.approx([5.25, 3.0], abs=1e-5)
    picture = belief[None, None].expand(1, 3, -1, -1)
    seen = move(picture, picture, shift(2, -1), everywhere(1, 10, 12))
    torch.testing.assert_close(seen[0, 1], moved, atol=1e-6, rtol=0)


def test_the_mass_of_a_belief_is_kept_and_what_leaves_the_picture_is_forgotten() -> None:
    generator = torch.Generator().manual_seed(0)
    belief = torch.rand(4, 8, 8, generator=generator)
    belief = belief / belief.sum((1, 2), keepdim=True)
    kernels = torch.randn(4, 3, 25, generator=generator).softmax(-1)
    masks = torch.randn(4, 4, 8, 8, generator=generator).softmax(1)
    moved = move_belief(belief, belief.roll(1, 0), kernels, masks)
    assert moved.min() >= 0
    torch.testing.assert_close(moved.sum((1, 2)), torch.ones(4))
    corner = belief_at(torch.tensor([7.0, 0.0]), 8, 8)[None]
    gone = move_belief(corner, corner, shift(2, 0), everywhere(1, 8, 8))
    torch.testing.assert_close(gone, torch.full((1, 8, 8), 1 / 64))


def test_moving_is_the_same_with_gradients_and_without() -> None:
    generator = torch.Generator().manual_seed(1)
    pictures, first = torch.rand(2, 5, 3, 8, 12, generator=generator)
    kernels = torch.randn(5, 4, 25, generator=generator).softmax(-1).requires_grad_()
    masks = torch.randn(5, 5, 8, 12, generator=generator).softmax(1)
    slow = move(pictures, first, kernels, masks)
    with torch.no_grad():
        fast = move(pictures, first, kernels, masks)
    torch.testing.assert_close(fast, slow.detach())


def test_what_was_covered_comes_back_from_the_first_frame() -> None:
    background = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    covered = background.clone()
    covered[..., 2:5, 2:5] = 1.0
    masks = everywhere(1, 8, 8)
    masks[:, 0, 2:5, 2:5], masks[:, 1, 2:5, 2:5] = 1.0, 0.0
    torch.testing.assert_close(move(covered, background, shift(0, 0), masks), background)


def test_expected_distance_has_its_known_value() -> None:
    belief = torch.zeros(6, 9)
    belief[1, 2], belief[5, 5] = 0.25, 0.75
    assert expected_distance(belief, torch.tensor([2.0, 1.0])).item() == pytest.approx(0.75 * 5.0)
    assert expected_distance(belief, torch.tensor([2.0, 5.0])).item() == pytest.approx(0.25 * 4.0 + 0.75 * 3.0)
    many = expected_distance(belief.expand(2, 3, 6, 9), torch.tensor([2.0, 1.0]))
    assert many.shape == (2, 3)


def test_kernels_and_masks_are_normalised_and_begin_by_keeping_things_in_place() -> None:
    torch.manual_seed(0)
    network = MotionNetwork(channels=1, height=12, width=16, points=1, extra=3, kernels=5, side=5, width_fine=8)
    frame, points = torch.rand(6, 1, 12, 16), torch.rand(6, 1, 2)
    kernels, masks = network(frame, frame, points, points, torch.randn(6, 3))
    assert kernels.min() >= 0
    assert masks.min() >= 0
    torch.testing.assert_close(kernels.sum(-1), torch.ones(6, 5))
    torch.testing.assert_close(masks.sum(1), torch.ones(6, 12, 16))
    assert (kernels.argmax(-1)[:, 0] == 12).all()
    with pytest.raises(ValueError, match="multiples of 4"):
        MotionNetwork(channels=1, height=10, width=16, points=0, extra=0, kernels=2, side=3, width_fine=4)


def test_a_known_translation_is_learned_as_its_kernel() -> None:
    """The whole picture moves one to the right and two up at every step: one kernel says so."""
    spec = ImageSpec("camera", 12, 12, action_size=1)
    texture = torch.rand(40, 40, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(20)
    frames = torch.stack([texture[row : row + 12, 15 - step : 27 - step] for row in rows for step in range(2)])
    frames[1::2] = torch.stack([texture[row + 2 : row + 14, 14:26] for row in rows])
    data = FrameSequences(
        (255 * frames).to(torch.uint8).unsqueeze(1),
        torch.zeros(40, 0),
        torch.zeros(40, 1),
        None,
        rows.repeat_interleave(2),
    )
    model = Foresight(spec, members=1, kernels=1, width=4, unroll=1, first_steps=100, learning_rate=2e-2)
    model.fit(data, generator=torch.Generator().manual_seed(0))
    start = model.encode(data)[0]
    state = torch.cat([start[:144], belief_at(torch.tensor([5.0, 6.0]), 12, 12).flatten()])
    after = model.beliefs(model.rollout(state, torch.zeros(1, 1, 1)).states[0, 0, 1])
    assert expected_pixel(after).tolist() == pytest.approx([6.0, 4.0], abs=0.3)
    assert after[4, 6] > 0.8


def test_the_robot_moves_linearly() -> None:
    generator = torch.Generator().manual_seed(0)
    drift, push = torch.randn(3, 3, generator=generator) * 0.1, torch.randn(2, 3, generator=generator)
    robot, actions = torch.randn(1, 3, generator=generator), torch.randn(200, 2, generator=generator)
    rows = [robot]
    for action in actions[:-1]:
        rows.append(rows[-1] @ drift + action @ push + 0.5)
    data = FrameSequences(
        torch.zeros(200, 1, 4, 4, dtype=torch.uint8), torch.cat(rows), actions, None, torch.zeros(200).long()
    )
    model = LinearRobot(3, 2)
    model.fit(data)
    torch.testing.assert_close(model(robot, actions[:1]), rows[1], atol=2e-3, rtol=0)


def test_frames_are_predicted_far_better_than_by_copying_the_last() -> None:
    errors = fitted().errors(wander(20, 8, seed=1), horizon=4)
    assert errors.horizon == 4
    assert errors.one_step < 0.5
    assert errors.h_step < 0.6
    report = fitted().calibrate(wander(4, 8, seed=2), horizon=4)
    assert report.one_step_rmse < 0.6


def test_planning_brings_the_designated_square_to_the_goal_pixel() -> None:
    model, generator = fitted(), torch.Generator().manual_seed(2)
    for goal, start in (((12.0, 4.0), (4.0, 11.0)), ((4.0, 11.0), (11.0, 5.0))):
        at, wanted = torch.tensor([start]), torch.tensor(goal)
        for _ in range(10):
            state, _ = model.observe(with_pixel(at), None, None)
            actions = 2 * torch.rand(64, 4, 2, generator=generator) - 1
            cost = model.distance(model.rollout(state, actions).states[:, :, 1:], wanted).mean(0).sum(-1)
            at = step_of(at, actions[cost.argmin(), :1])
        assert (at - wanted).norm() < 1.5
        assert model.distance(state, model.encode_goal(with_pixel(wanted[None]))) < 3


def test_gradients_flow_from_the_cost_to_the_actions() -> None:
    model = fitted()
    state, _ = model.observe(with_pixel(torch.tensor([[6.0, 6.0]])), None, None)
    actions = torch.zeros(3, 3, 2, requires_grad=True)
    model.distance(model.rollout(state, actions).states[:, :, -1], torch.tensor([12.0, 6.0])).sum().backward()
    assert actions.grad is not None
    assert (actions.grad[:, 0, 0] < 0).all()


def test_members_are_trained_on_data_of_their_own_and_the_same_seed_learns_the_same() -> None:
    data = wander(6, 6, seed=0)
    states = []
    for _ in range(2):
        model = Foresight(SPEC, **(SMALL | {"first_steps": 4}))  # type: ignore[arg-type]
        model.fit(data, generator=torch.Generator().manual_seed(0))
        start, _ = model.observe(with_pixel(torch.tensor([[6.0, 6.0]])), None, None)
        rollout = model.rollout(start, torch.ones(2, 3, 2))
        assert rollout.states.shape == (2, 2, 4, model.state_size)
        assert rollout.members is not None
        assert rollout.members.tolist() == [0, 1]
        states.append(rollout.states)
    assert torch.equal(states[0], states[1])
    assert not torch.allclose(states[0][0], states[0][1])


def test_what_was_learned_can_be_saved(tmp_path: Path) -> None:
    model = fitted()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    settings = SMALL | {"members": 1}
    other = Foresight(SPEC, **settings, seed=5)  # type: ignore[arg-type]
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    state = model.encode(wander(1, 2, seed=4))[0]
    actions = torch.ones(1, 2, 2)
    assert torch.equal(model.rollout(state, actions).states, other.rollout(state, actions).states)
    assert other.state_dict()["rows_seen"] == 40 * 8
    with pytest.raises(ValueError, match="does not fit this model"):
        Foresight(SPEC, **(settings | {"width": 4})).load_state_dict(model.state_dict())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind 'e2c'"):
        other.load_state_dict({"kind": "e2c", "format": 1})


def test_without_a_designated_pixel_nothing_is_known_of_it_and_strange_frames_are_noticed() -> None:
    model = fitted()
    state, _ = model.observe({"camera": draw(torch.tensor([[6.0, 6.0]]))}, None, None)
    torch.testing.assert_close(model.beliefs(state), torch.full((SIZE, SIZE), 1 / SIZE**2))
    assert model.novelty(model.encode(wander(3, 6, seed=5))).median() < 2
    assert model.novelty(1 - model.encode(wander(1, 1, seed=5))).min() > 3
    assert model.familiarity({"camera": 255 - draw(torch.tensor([[6.0, 6.0]]))}).strange


def test_points_must_be_measured() -> None:
    with pytest.raises(ValueError, match="'tip' is no measurement of two numbers"):
        Foresight(SPEC, points=("tip",))
    with pytest.raises(ValueError, match="kernel_size is 4"):
        Foresight(SPEC, kernel_size=4)
