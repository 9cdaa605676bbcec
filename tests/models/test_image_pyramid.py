import math

import torch

from models.image.frames import FrameSequences, ImageSpec
from models.image.pyramid import PyramidEncoder, pyramid, pyramid_error, stack_error


def spot(column: int) -> torch.Tensor:
    picture = torch.zeros(1, 1, 32, 32)
    picture[..., 16, column] = 1.0
    return picture


def test_every_level_keeps_the_sum() -> None:
    levels = pyramid(spot(15))
    assert [tuple(level.shape[-2:]) for level in levels] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert torch.allclose(torch.stack([level.sum() for level in levels]), torch.ones(4))


def test_the_error_grows_with_the_distance_far_beyond_the_thing() -> None:
    errors = [float(pyramid_error(spot(8) - spot(8 + apart))) for apart in (0, 1, 2, 4, 8)]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert errors[4] > 1.05 * errors[3]


def test_what_moves_counts_more_than_what_stands_still() -> None:
    standing = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(1, 2, 1, 1)
    moving = standing * torch.tensor([0.0, 1.0])[:, None, None]
    expected = pyramid_error(standing[:, :1])
    assert torch.isclose(stack_error(standing, 1, 10.0), expected)
    assert torch.isclose(stack_error(moving, 1, 10.0), 11 * expected)
    assert torch.isclose(stack_error(moving[:, 1:], 1, 10.0), expected)


def test_the_encoder_takes_stacks_and_proprioception() -> None:
    spec = ImageSpec("camera", 16, 24, action_size=1, colour=True, proprioception=(("joint", 2),))
    encoder = PyramidEncoder(spec, stack=2, hidden=8, outputs=5, slow=3)
    stacks = torch.randint(0, 255, (4, 2, 3, 16, 24), dtype=torch.uint8)
    assert encoder(stacks, torch.zeros(4, 2)).shape == (4, 5)


def test_it_starts_as_where_a_thing_is_and_how_fast_it_moves() -> None:
    """A spot on a circle, seen twice: two numbers say where it is and a third how fast it goes round."""
    generator = torch.Generator().manual_seed(0)
    speeds = 0.1 * torch.randn(300, 1, generator=generator).expand(-1, 12) + 0.01 * torch.randn(
        300, 12, generator=generator
    )
    angles = 2 * math.pi * torch.rand(300, 1, generator=generator) + speeds.cumsum(1)
    places = 16 + 8 * torch.stack([angles.cos(), angles.sin()], -1)
    grid = torch.arange(32) + 0.5
    along, down = (torch.exp(-((grid - places[..., axis, None]) ** 2) / 8) for axis in (0, 1))
    frames = (255 * down.unsqueeze(-1) * along.unsqueeze(-2)).to(torch.uint8).unsqueeze(2)
    rows = torch.arange(300).repeat_interleave(12)
    data = FrameSequences(frames.flatten(0, 1), torch.zeros(3600, 0), torch.zeros(3600, 1), None, rows)
    stacks = torch.stack([frames[:, :-1], frames[:, 1:]], 2)
    encoder = PyramidEncoder(ImageSpec("camera", 32, 32, action_size=1), stack=2, hidden=8, outputs=6, slow=3).eval()
    encoder.adapt(frames.flatten(0, 1)[::7], torch.zeros(1, 0))
    encoder.start_slow(data)
    with torch.no_grad():
        slow = encoder(stacks.flatten(0, 1), torch.zeros(300 * 11, 0))[:, :3]
    assert torch.allclose(slow.std(0), torch.ones(3), atol=0.1)
    seen, known = torch.cat([slow, torch.ones(len(slow), 1)], 1), torch.stack([angles.cos(), angles.sin(), speeds], -1)
    known = known[:, 1:].flatten(0, 1)
    left = known - seen @ torch.linalg.lstsq(seen, known).solution
    assert (left.square().mean(0) / known.var(0)).max() < 0.15
