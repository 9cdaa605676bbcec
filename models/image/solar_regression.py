"""Bayesian linear regression with unknown noise: the conjugate matrix-normal inverse-Wishart posterior."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Sums over observations of y = F x + noise, with any leading dimensions.

    Attributes:
        xx: Σ x xᵀ, (..., p, p).
        yx: Σ y xᵀ, (..., d, p).
        yy: Σ y yᵀ, (..., d, d).
        count: number of observations, (...).
    """

    xx: Tensor
    yx: Tensor
    yy: Tensor
    count: Tensor


@dataclass(frozen=True)
class Regression:
    """F | Σ ~ MN(mean, Σ, precision⁻¹) and Σ ~ IW(scale, dof), for y ~ N(F x, Σ).

    Source: T. Minka, "Bayesian linear regression", 2000.

    Attributes:
        mean: (..., d, p).
        precision: (..., p, p), of the columns of F.
        scale: Ψ, (..., d, d).
        dof: ν, (...).
    """

    mean: Tensor
    precision: Tensor
    scale: Tensor
    dof: Tensor

    def posterior(self, seen: Moments) -> "Regression":
        """What observations make of this prior."""
        precision = self.precision + seen.xx
        mean = torch.linalg.solve(precision, self.mean @ self.precision + seen.yx, left=False)
        before, after = self.mean @ self.precision @ self.mean.mT, mean @ precision @ mean.mT
        scale = self.scale + seen.yy + before - after
        return Regression(mean, precision, 0.5 * (scale + scale.mT), self.dof + seen.count)

    @property
    def noise(self) -> Tensor:
        """E[Σ⁻¹]⁻¹ (..., d, d)."""
        noise: Tensor = self.scale / self.dof[..., None, None]
        return noise

    @property
    def doubt(self) -> Tensor:
        """The doubt d precision⁻¹, (..., p, p): not knowing F costs −½ xᵀ doubt x of expected log-likelihood."""
        doubt: Tensor = self.mean.shape[-2] * torch.linalg.inv(self.precision)
        return doubt

    def tempered(self, strength: float) -> "Regression":
        """The same mean and noise, believed like so many observations only: a prior for parts of the data."""
        share = (strength / self.dof)[..., None, None]
        return Regression(self.mean, share * self.precision, share * self.scale, torch.full_like(self.dof, strength))
