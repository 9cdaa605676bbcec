import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SPEC, draw

from models.image.frames import FrameSequences, ImageSpec
from models.image.keypoints import KeypointDecoder, KeypointEncoder, PointDistances
from models.image.latent_state_space import LatentStateSpace

SMALL = {
    "features": "keypoints", "encoding": "deterministic", "latent_size": 16, "stack": 1, "heads": 2, "hidden": (48, 48),
    "batch_size": 32, "unroll": 2, "learning_rate": 3e-3, "dynamics_weight": 0.1, "first_steps": 150, "far_steps": 2,
    "distance_steps": 0, "mixed_precision": False,
}  # fmt: skip


def with_one(places: torch.Tensor) -> torch.Tensor:
    return torch.cat([places, torch.ones(len(places), 1)], 1)


def twice(places: torch.Tensor) -> FrameSequences:
    """A dot at places (F, 2) of a 48x48 picture, as pairs of frames of which the second shows what the first does."""
    frames = draw(places, 48).repeat_interleave(2, 0)
    count = len(frames)
    episodes = torch.arange(len(places)).repeat_interleave(2)
    return FrameSequences(frames, torch.zeros(count, 0), torch.zeros(count, 1), None, episodes)


def test_what_is_learned_in_one_half_of_the_picture_holds_in_the_other() -> None:
    torch.manual_seed(0)
    left = torch.tensor([16.0, 32.0]) * torch.rand(200, 2) + 8
    spec = ImageSpec("camera", 48, 48, action_size=1)
    model = LatentStateSpace(spec, **(SMALL | {"batch_size": 16, "unroll": 1}))  # type: ignore[arg-type]
    model.fit(twice(left), generator=torch.Generator().manual_seed(0))
    right = torch.cat([48 - left[:, :1], left[:, 1:]], 1)
    seen, unseen = (model.encode(twice(places))[::2] for places in (left, right))
    line = torch.linalg.lstsq(with_one(seen), left).solution
    assert (with_one(seen) @ line - left).square().mean().sqrt() < 1
    assert (with_one(unseen) @ line - right).square().mean().sqrt() < 2


def test_points_are_drawn_where_they_are() -> None:
    torch.manual_seed(0)
    decoder = KeypointDecoder(ImageSpec("camera", 64, 64, action_size=1), inputs=2, frames=1)
    one_cell = 2 * 2 / 16
    here, there = decoder(torch.tensor([[-0.5, 0.25], [-0.5 + one_cell, 0.25 - 2 * one_cell]])).detach()
    assert torch.allclose(here[:, 16:40, 8:32], there[:, 8:32, 12:36], atol=1e-3)
    assert not torch.allclose(here[:, 16:40, 8:32], there[:, 16:40, 8:32], atol=1e-2)


def test_the_frame_before_is_drawn_from_the_rates() -> None:
    torch.manual_seed(0)
    spec = ImageSpec("camera", 16, 16, action_size=1)
    encoder, decoder = KeypointEncoder(spec, stack=2, size=8), KeypointDecoder(spec, inputs=8, frames=2)
    before, now = draw(torch.tensor([[4.0, 9.0], [8.0, 10.0]]))
    nothing = torch.zeros(2, 0)
    states = encoder(torch.stack([torch.stack([before, now]), torch.stack([before, before])]), nothing)[:, :8]
    drawn = decoder(states)
    assert states[1, 4:].abs().max() < 1e-6
    assert states[0, 4:].abs().max() > 1e-4
    assert torch.allclose(drawn[0, 0], drawn[1, 1], atol=1e-5)
    assert torch.allclose(drawn[1, 0], drawn[1, 1], atol=1e-5)


def test_distances_are_between_the_newest_points() -> None:
    states = torch.tensor([[0.0, 0.0, 3.0, 4.0, 0.0, 1.0] + 6 * [9.0]])
    assert PointDistances(inputs=12, frames=2)(states)[0, 12:].tolist() == pytest.approx([5.0, 1.0, 18**0.5])


def test_points_in_one_place_have_a_distance_with_a_gradient() -> None:
    states = torch.zeros(1, 4, requires_grad=True)
    torch.autograd.backward(PointDistances(inputs=4, frames=1)(states).sum())
    assert states.grad is not None
    assert states.grad.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "spec", "said"),
    [
        ({"latent_size": 3}, SPEC, "latent_size is 3"),
        ({"encoding": "recurrent"}, SPEC, "recurrent"),
        ({}, ImageSpec("camera", 18, 16, action_size=2), "multiples of 4"),
        ({}, ImageSpec("camera", 16, 16, action_size=2, proprioception=(("q", 1),)), "codes"),
    ],
)
def test_what_has_no_points_is_refused(changes: dict[str, object], spec: ImageSpec, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LatentStateSpace(spec, **(SMALL | changes))  # type: ignore[arg-type]
