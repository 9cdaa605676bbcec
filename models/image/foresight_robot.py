"""The robot's own measurements, predicted linearly from themselves and the action, as in Finn et al. 2016."""

import torch
from torch import Tensor, nn

from models.image.frames import FrameSequences

_RIDGE = 1e-4


class LinearRobot(nn.Module):
    """x' = x + [x, a, 1] A, fitted by ridge regression."""

    def __init__(self, size: int, action_size: int) -> None:
        super().__init__()
        self.matrix: Tensor
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("matrix", torch.zeros(size + action_size + 1, size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def normalized(self, robot: Tensor) -> Tensor:
        """Measurements (B, q) in units of their spread in the data."""
        return (robot - self.mean) / self.std

    def forward(self, robot: Tensor, action: Tensor) -> Tensor:
        """The next measurements (B, q) after measurements (B, q) and actions (B, nu)."""
        ones = torch.ones_like(action[:, :1])
        following: Tensor = robot + torch.cat([self.normalized(robot), action, ones], -1) @ self.matrix
        return following

    @torch.no_grad()
    def fit(self, data: FrameSequences) -> None:
        """Fit to all transitions of a recording."""
        if not self.mean.numel():
            return
        starts = data.windows(2)
        robot = data.proprioception.double()
        self.mean.copy_(robot.mean(0))
        self.std.copy_(robot.std(0, correction=0).clamp(min=1e-6))
        normal = (robot[starts] - self.mean.cpu()) / self.std.cpu()
        inputs = torch.cat([normal, data.actions[starts].double(), torch.ones(len(starts), 1).double()], -1)
        gram = inputs.T @ inputs + _RIDGE * len(starts) * torch.eye(inputs.shape[1]).double()
        self.matrix.copy_(torch.linalg.solve(gram, inputs.T @ (robot[starts + 1] - robot[starts])))
