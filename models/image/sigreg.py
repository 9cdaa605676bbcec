"""Keep latents from collapsing: sketched isotropic Gaussian regularisation (LeJEPA, arXiv:2511.08544)."""

import torch
from torch import Generator, Tensor

KNOTS, LARGEST_FREQUENCY = 17, 3.0


def sigreg(latents: Tensor, *, directions: int, generator: Generator) -> Tensor:
    """How far the latents of a batch are from a standard Gaussian, along random directions.

    The statistic of Epps and Pulley: the squared distance between the empirical characteristic function of each
    projection and that of N(0, 1), weighted by a Gaussian window, times the batch size.

    Args:
        latents: (..., B, d); leading dimensions (steps of a sequence) are tested one by one and averaged.
        directions: random unit directions, drawn anew at every call.
        generator: draws them.

    Returns:
        a scalar that does not depend on B for exact Gaussian samples and grows with it for all others.
    """
    shape = (latents.shape[-1], directions)
    axes = torch.randn(shape, generator=generator, device=generator.device).to(latents.device)
    projected = latents @ (axes / axes.norm(dim=0))
    frequencies = torch.linspace(0, LARGEST_FREQUENCY, KNOTS, device=latents.device)
    gaussian = torch.exp(-frequencies.square() / 2)
    spacing = LARGEST_FREQUENCY / (KNOTS - 1)
    weights = torch.full_like(frequencies, 2 * spacing)  # the integrand is even: half of the axis counts twice
    weights[0] = weights[-1] = spacing
    angles = projected.unsqueeze(-1) * frequencies
    apart = (angles.cos().mean(-3) - gaussian).square() + angles.sin().mean(-3).square()
    statistic: Tensor = (apart @ (weights * gaussian)).mean()
    return latents.shape[-2] * statistic
