"""A latent state that can be predicted and told from others, learned without reconstructing pictures."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.checks import require
from models.dynamics import Rollout
from models.image.encoders import ImageEncoder
from models.image.frames import FrameSequences, ImageSpec
from models.image.goal_policy import GoalPolicy, fit_goal_policy
from models.image.image_model import ImageModel
from models.image.latent_heads import FarFit, LatentHeads, bootstrap_weights, prediction_loss
from models.image.sigreg import sigreg
from models.image.temporal_distance import HORIZON, SCALE, TemporalDistance, fit_temporal_distance
from models.inference import Precision


class JointEmbedding(ImageModel):
    """An encoder, K bootstrap heads that move its latent state, and a distance to plan with.

    Trained jointly: each head predicts the latents of the next ``unroll`` frames from the actions, the latents
    of a batch are kept Gaussian (SIGReg), so that they cannot collapse, and the action between two frames can
    be read off their latents, so that what the robot controls is in them. Then, on fixed latents, the heads
    learn longer windows, and the temporal distance and the policy that planners start from are learned. After
    LeWorldModel (Maes et al. 2026), with heads, inverse dynamics, a temporal distance and a policy added.
    """

    kind = "joint-embedding"

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_size: int = 32,
        stack: int = 2,
        heads: int = 4,
        hidden: tuple[int, ...] = (200, 200),
        widths: tuple[int, ...] = (32, 64, 128),
        unroll: int = 4,
        sigreg_weight: float = 0.1,
        sigreg_directions: int = 128,
        inverse_weight: float = 1.0,
        learning_rate: float = 1e-3,
        batch_size: int = 100,
        first_steps: int = 2700,
        refit_steps: int = 300,
        far_unroll: int = 10,
        far_steps: int = 1500,
        distance_steps: int = 3000,
        latent_weight: float = 0.25,
        policy_steps: int = 2000,
        posture_steps: int = 5000,
        holdout_fraction: float = 0.05,
        mixed_precision: bool = True,
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> None:
        """Build the untrained model.

        Args:
            spec: what it sees.
            latent_size: d.
            stack: frames that the encoder sees at once; velocity needs 2.
            heads: K; 1 knows no doubt.
            hidden: widths of the heads' hidden layers.
            widths: channels of the encoder's convolutions.
            unroll: predicted steps per window while the encoder learns.
            sigreg_weight: λ; it counts as the batch size grows, see ``sigreg``.
            sigreg_directions: random directions of each step.
            inverse_weight: ω, of the inverse dynamics; 0 leaves them out.
            learning_rate: of Adam, after a warm-up falling along half a cosine.
            batch_size: windows per gradient step.
            first_steps: gradient steps of the first fit.
            refit_steps: gradient steps of every later fit.
            far_unroll: predicted steps per window when the heads go on alone, on fixed latents.
            far_steps: gradient steps of that, in every fit; 0 leaves it out.
            distance_steps: gradient steps of the temporal distance, in every fit; 0 plans with the Euclidean
                distance between latents instead.
            latent_weight: of the Euclidean distance between latents, which is added to the temporal one: near a
                goal it tells apart what takes the same time, and far away it is small beside the time.
            policy_steps: gradient steps of the policy that planners start from, in every fit; 0 leaves it out.
            posture_steps: gradient steps of the first fit of what guesses the proprioception of goal pictures.
            holdout_fraction: part of the episodes that is not learned from.
            mixed_precision: bfloat16 in the encoder's training.
            precision: of the products in rollouts.
            seed: of the initial weights, the holdout and the bootstrap.

        Raises:
            ValueError: if a number is out of its range.
        """
        require(heads >= 1, f"heads is {heads}; it must be at least 1")
        require(far_unroll >= 1, f"far_unroll is {far_unroll}; it must be at least 1")

        def parts() -> dict[str, nn.Module]:
            return {
                "encoder": ImageEncoder(spec, stack=stack, widths=widths, hidden=256, outputs=latent_size),
                "heads": LatentHeads(
                    latent_size, spec.action_size, heads=heads, hidden=hidden, generator=Generator().manual_seed(seed)
                ),
                "inverse": nn.Sequential(nn.Linear(2 * latent_size, 128), nn.SiLU(), nn.Linear(128, spec.action_size)),
                "distance": TemporalDistance(latent_size),
                "policy": GoalPolicy(latent_size, spec.action_size),
            }

        super().__init__(
            spec,
            parts,
            latent_size=latent_size,
            stack=stack,
            unroll=unroll,
            learning_rate=learning_rate,
            batch_size=batch_size,
            first_steps=first_steps,
            refit_steps=refit_steps,
            holdout_fraction=holdout_fraction,
            mixed_precision=mixed_precision,
            seed=seed,
            posture_steps=posture_steps,
        )
        self.heads = heads
        self._sigreg_weight, self._directions, self._inverse_weight = sigreg_weight, sigreg_directions, inverse_weight
        self._far = FarFit(unroll=far_unroll, steps=far_steps, learning_rate=learning_rate, seed=seed)
        self._distance_steps, self._policy_steps, self._latent_weight = distance_steps, policy_steps, latent_weight
        self._precision = precision
        self._heads: LatentHeads = self._part("heads")
        self._inverse: nn.Sequential = self._part("inverse")
        self._distance: TemporalDistance = self._part("distance")
        self._policy: GoalPolicy = self._part("policy")

    def flops_per_step(self, candidates: int) -> float:
        """Floating point operations of one imagined step of ``candidates`` action sequences."""
        return self._heads.flops_per_row() * candidates

    def _loss(self, data: FrameSequences, starts: Tensor, generator: Generator) -> Tensor:
        rows = self._window_rows(data, starts)
        actions = data.actions[rows].to(self.device)
        latents = self._encoded(data, rows).transpose(0, 1)
        weights = bootstrap_weights(starts, self.heads, self._seed).to(self.device)
        loss = prediction_loss(self._heads, latents, actions, weights)
        loss = loss + self._sigreg_weight * sigreg(latents, directions=self._directions, generator=generator)
        if self._inverse_weight:
            guessed = self._inverse(torch.cat([latents[:-1], latents[1:]], -1))
            sent = actions[:, : self._unroll].transpose(0, 1)
            loss = loss + self._inverse_weight * functional.mse_loss(guessed, sent)
        return loss

    def _finish(self, latents: Tensor, data: FrameSequences, held_out: Tensor, generator: Generator) -> None:
        self._far.fit(self._heads, latents, data, held_out, generator)
        if self._distance_steps:
            fit_temporal_distance(self._distance, latents, data, steps=self._distance_steps, generator=generator)
        if self._policy_steps:
            fit_goal_policy(self._policy, latents, data, steps=self._policy_steps, generator=generator)

    def _changed(self) -> None:
        super()._changed()
        self._heads.thaw()

    def distance(self, states: Tensor, goal: Tensor) -> Tensor:
        """How far latents (..., d) are from a goal (d,): in time, and a little in the latent itself."""
        apart: Tensor = torch.linalg.vector_norm(states - goal, dim=-1)
        if not self._distance_steps:
            return apart
        time: Tensor = self._distance(states, goal)
        return time + self._latent_weight * apart

    @torch.no_grad()
    def propose(self, state: Tensor, goal: Tensor, steps: int) -> Tensor | None:
        """What the policy would do (H, nu), imagined with the mean of the heads; see ``ImageDynamics``."""
        if not (self._policy_steps and self._distance_steps):
            return None
        remaining = (SCALE * self._distance(state, goal)).clamp(1, HORIZON)
        actions, latent = [], state.float().unsqueeze(0)
        for step in range(steps):
            action = self._policy(latent, goal.unsqueeze(0), (remaining - step).clamp(min=1).view(1)).clamp(-1, 1)
            latent = self._heads(latent.expand(self.heads, -1, -1), action).mean(0)
            actions.append(action)
        return torch.cat(actions)

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        """Imagine what N action sequences do; see ``Dynamics``. Head k moves particle k, without noise.

        Raises:
            ValueError: if a shape does not fit.
        """
        self._check_rollout(state, actions)
        return self._heads.rollout(state, actions, self._precision)
