"""The network behind pixel motion: from a frame and an action to kernels, and to masks that say where each counts."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_POINT_WIDTH = 1.2
_STAY = 3.0


class MotionNetwork(nn.Module):
    """Two strided convolutions see the frame; the action joins at the coarsest; kernels and masks come out.

    Beside the frame it sees how that differs from the first one, and where known points of the robot are and will be.
    """

    def __init__(
        self,
        *,
        channels: int,
        height: int,
        width: int,
        points: int,
        extra: int,
        kernels: int,
        side: int,
        width_fine: int,
    ) -> None:
        """Build the untrained network; it starts by keeping everything where it is.

        Args:
            channels: C, of the frames.
            height: of the frames, a multiple of 4.
            width: of the frames, a multiple of 4.
            points: points of the robot that are drawn into its input.
            extra: numbers that join at the coarsest resolution: action and robot.
            kernels: M.
            side: k, of a kernel.
            width_fine: channels at half resolution; one and a half times as many at a quarter.

        Raises:
            ValueError: if the frames cannot be halved twice.
        """
        super().__init__()
        if height % 4 or width % 4:
            raise ValueError(
                f"frames of {width}x{height} pixels cannot be halved twice: both must be multiples of 4; use "
                f"another size."
            )
        coarse = width_fine * 3 // 2
        self._shape, self._kernels, self._side = (height, width), kernels, side
        self.fine = nn.Conv2d(4 * (2 * channels + 2 * points), width_fine, 3, padding=1)
        self.coarse = nn.Conv2d(width_fine, coarse, 3, stride=2, padding=1)
        self.acted = nn.Conv2d(coarse + extra, coarse, 3, padding=1)
        self.kernels = nn.Linear(coarse * (height // 4) * (width // 4), kernels * side * side)
        self.joined = nn.Conv2d(width_fine + coarse, coarse, 1)
        self.masks = nn.Conv2d(coarse, 4 * (kernels + 1), 1)
        nn.init.normal_(self.kernels.weight, std=1e-3)
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            self.kernels.bias.zero_()
            self.kernels.bias.view(kernels, -1)[:, side * side // 2] = _STAY
            spread = torch.linspace(-1, 1, side)
            for index, bias in enumerate(self.kernels.bias.view(kernels, side, side)[1:]):
                angle = torch.tensor(2 * torch.pi * index / max(1, kernels - 1))
                bias += spread * angle.cos() + spread.unsqueeze(-1) * angle.sin()

    def forward(
        self, frame: Tensor, first: Tensor, now: Tensor, following: Tensor, extra: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Kernels (B, M, k·k) and masks (B, M + 1, H, W), both not negative with sum 1.

        Args:
            frame: (B, C, H, W) in [0, 1].
            first: (B, C, H, W).
            now: (B, points, 2) column and row of the robot's points.
            following: (B, points, 2) after the action.
            extra: (B, extra).
        """
        seen = torch.cat([frame - 0.5, frame - first, self._drawn(now), self._drawn(following)], 1)
        seen = functional.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last)
        fine = functional.relu(self.fine(seen))
        coarse = functional.relu(self.coarse(fine))
        extra = extra[..., None, None].expand(-1, -1, *coarse.shape[-2:])
        coarse = functional.relu(self.acted(torch.cat([coarse, extra], 1)))
        kernels = self.kernels(coarse.flatten(1)).unflatten(-1, (self._kernels, -1)).softmax(-1)
        joined = functional.relu(self.joined(torch.cat([fine, functional.interpolate(coarse, scale_factor=2.0)], 1)))
        masks = functional.pixel_shuffle(self.masks(joined), 2).softmax(1)
        return kernels, masks

    def flops_per_frame(self, moved: int) -> float:
        """Floating point operations for one frame and action, and for moving so many channels."""
        height, width = self._shape
        half, quarter = height * width // 4, height * width // 16
        layers = (
            (self.fine, half), (self.coarse, quarter), (self.acted, quarter), (self.joined, half), (self.masks, half),
            (self.kernels, 1),
        )  # fmt: skip
        products = sum(layer.weight.numel() * places for layer, places in layers)
        return 2.0 * (products + height * width * self._side**2 * (self._kernels + moved))

    def _drawn(self, points: Tensor) -> Tensor:
        """Points (B, n, 2) as bumps (B, n, H, W)."""
        height, width = self._shape
        columns = torch.arange(width, dtype=points.dtype, device=points.device)
        rows = torch.arange(height, dtype=points.dtype, device=points.device)
        across = torch.exp(-0.5 * ((columns - points[..., :1]) / _POINT_WIDTH).square())
        down = torch.exp(-0.5 * ((rows - points[..., 1:]) / _POINT_WIDTH).square())
        return down.unsqueeze(-1) * across.unsqueeze(-2)
