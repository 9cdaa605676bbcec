import torch

from models.image.frames import ImageSpec
from models.image.pyramid import PyramidEncoder, pyramid, pyramid_error


def spot(column: int) -> torch.Tensor:
    picture = torch.zeros(1, 1, 32, 32)
    picture[..., 16, column] = 1.0
    return picture


def test_every_level_keeps_the_sum() -> None:
    levels = pyramid(spot(15))
    assert [tuple(level.shape[-2:]) for level in levels] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert torch.allclose(torch.stack([level.sum() for level in levels]), torch.ones(4))


def test_the_error_grows_with_the_distance_far_beyond_the_thing() -> None:
    errors = [float(pyramid_error(spot(8), spot(8 + apart))) for apart in (0, 1, 2, 4, 8)]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert errors[4] > 1.05 * errors[3]


def test_the_encoder_takes_stacks_and_proprioception() -> None:
    spec = ImageSpec("camera", 16, 24, action_size=1, colour=True, proprioception=(("joint", 2),))
    encoder = PyramidEncoder(spec, stack=2, hidden=8, outputs=5, components=3)
    stacks = torch.randint(0, 255, (4, 2, 3, 16, 24), dtype=torch.uint8)
    assert encoder(stacks, torch.zeros(4, 2)).shape == (4, 5)
