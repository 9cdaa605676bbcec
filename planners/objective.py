"""The usual objective: what action sequences cost under a model, a cost and an attitude to risk."""

from dataclasses import replace

import torch
from torch import Generator, Tensor

from models.dynamics import Dynamics
from planners.cost import Cost
from planners.risk import Risk


class RolloutObjective:
    """risk(cost(model.rollout(state, actions), actions)), for one plan.

    Every call draws the model's noise from the same seed, so all candidates of all iterations of a plan meet
    the same luck (common random numbers) and their order does not depend on how they are split into chunks.

    Where gradients are on and the actions require them, gradients are kept: then actions are float32, the
    population is one chunk, and costs are unmasked, that is ends of episodes are ignored and infinite costs
    stay what they are, for masks have no slope. Otherwise nothing is recorded for gradients.
    """

    def __init__(
        self,
        model: Dynamics,
        cost: Cost,
        risk: Risk,
        state: Tensor,
        *,
        seed: int,
        chunk: int = 1024,
    ) -> None:
        """Freeze what one plan is optimised for.

        Args:
            model: rolls action sequences out.
            cost: what rollouts cost, summed over time.
            risk: how the particles' costs are combined.
            state: where rollouts start, (nx,), or (P, 1, nx) for particles with a state of their own.
            seed: of the model's noise.
            chunk: candidates rolled out at once: bounds the memory.

        Raises:
            ValueError: if the state has another shape, or the chunk is not positive.
        """
        size = model.state_size
        if state.shape != (size,) and (state.dim() != 3 or state.shape[1:] != (1, size)):
            raise ValueError(
                f"objective: the state has shape {tuple(state.shape)}; it must be ({size},), or "
                f"(P, 1, {size}) for particles with a state of their own."
            )
        if chunk < 1:
            raise ValueError(f"objective: chunk is {chunk} candidates; it must be at least 1.")
        self.model, self.cost, self.risk, self.state = model, cost, risk, state
        self._seed, self._chunk = seed, chunk
        self._generator = Generator(device=state.device)

    def __call__(self, actions: Tensor) -> Tensor:
        """Cost action sequences.

        Args:
            actions: (N, H, nu), scaled to [-1, 1].

        Returns:
            (N,); +inf for a sequence with a NaN or infinite cost in any particle.
        """
        if torch.is_grad_enabled() and actions.requires_grad:
            return self.risk(self._particle_costs(actions.float(), masked=False))
        with torch.inference_mode():
            costs = torch.cat([self._masked(part) for part in torch.split(actions, self._chunk)])
        return costs.clone()

    def _masked(self, actions: Tensor) -> Tensor:
        costs = self._particle_costs(actions, masked=True)
        risked = self.risk(costs)
        usable = costs.isfinite().all(dim=0) & risked.isfinite()
        return torch.where(usable, risked, torch.inf)

    def _particle_costs(self, actions: Tensor, *, masked: bool) -> Tensor:
        """(P, N)."""
        self._generator.manual_seed(self._seed)
        state = self.state if self.state.dim() == 1 else self.state.expand(-1, len(actions), -1)
        rollout = self.model.rollout(state, actions, generator=self._generator)
        return self.cost(rollout if masked else replace(rollout, alive=None), actions)
