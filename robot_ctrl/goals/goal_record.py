"""What an episode towards a goal picture looked like to the model: distances, doubts, and what it imagined."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.robot import Observation
from models.image.frames import ImageSpec
from models.image.image_dynamics import ImageDynamics
from planners.plan import Plan
from planners.proposal import Proposal

Picture = NDArray[np.uint8]

CANDIDATES = 3
_STRIPS = 3


@dataclass(frozen=True)
class Imagined:
    """One candidate of a plan, as pictures.

    Attributes:
        step: control period in which it was planned.
        rank: 0 for the plan itself, then its best candidates.
        pictures: (h, w, 3) uint8 each, from now to the end of the horizon.
        distance: to the goal at its end, the members' mean.
        doubt: their standard deviation.
    """

    step: int
    rank: int
    pictures: list[Picture]
    distance: float
    doubt: float


@dataclass(frozen=True)
class GoalRecord:
    """An episode towards a goal picture.

    Attributes:
        arrival: the distance within which the model takes the goal as reached.
        shown_as: how imagined states became pictures, in words.
        distances: (T,) the model's distance to the goal at every observation.
        planned: (T - 1,) where each plan expected to end, the members' mean.
        doubts: (T - 1,) the members' standard deviation of that.
        novelty: (T,) how far each observation was from the data; 1 is usual.
        seen: pictures (h, w, 3) uint8 that the robot saw, a selection.
        seen_at: the control periods of those.
        imagined: candidates of some plans.
    """

    arrival: float
    shown_as: str
    distances: NDArray[np.float64]
    planned: NDArray[np.float64]
    doubts: NDArray[np.float64]
    novelty: NDArray[np.float64]
    seen: list[Picture]
    seen_at: list[int]
    imagined: list[Imagined]

    @property
    def reached(self) -> bool:
        """Whether the model takes the goal as reached at the end."""
        return bool(self.distances[-1] <= self.arrival)


@torch.no_grad()
def record_goal(
    model: ImageDynamics[Any],
    spec: ImageSpec,
    goal: torch.Tensor,
    states: NDArray[np.float64],
    observations: Sequence[Observation],
    plans: Sequence[Plan],
) -> GoalRecord:
    """Look back on an episode that planned at every control period.

    Args:
        model: what was planned with; it can turn states into pictures.
        spec: which camera it looks through.
        goal: (nx,) the goal's state.
        states: (T, nx) of the observations.
        observations: T of them.
        plans: one for each but the last.
    """
    there = torch.as_tensor(states, dtype=torch.float32, device=model.device)
    planned, doubts = [], []
    for state, plan in zip(there, plans, strict=False):
        ends = _ends(model, goal, state, plan.actions[None])
        planned.append(float(ends.mean()))
        doubts.append(float(ends.std(correction=0)))
    shown = sorted({round(index) for index in np.linspace(0, len(observations) - 1, 8)})
    imagined = [
        picture
        for step in sorted({round(index) for index in np.linspace(0, len(plans) - 1, _STRIPS + 1)[:-1]})
        for picture in _imagine(model, goal, there[step], plans[step], step)
    ]
    return GoalRecord(
        arrival=model.arrival,
        shown_as=model.shown_as,
        distances=model.distance(there, goal).cpu().numpy().astype(np.float64),
        planned=np.array(planned),
        doubts=np.array(doubts),
        novelty=model.novelty(there).cpu().numpy().astype(np.float64),
        seen=[np.asarray(observations[index].images[spec.camera]) for index in shown],
        seen_at=shown,
        imagined=imagined,
    )


def _imagine(
    model: ImageDynamics[Any], goal: torch.Tensor, state: torch.Tensor, plan: Plan, step: int
) -> list[Imagined]:
    elites = plan.proposal.elites if isinstance(plan.proposal, Proposal) else None
    kept = plan.actions[None][:0] if elites is None else elites[:CANDIDATES]
    candidates = np.concatenate([plan.actions[None], kept])
    rollout = model.rollout(state, torch.tensor(candidates, device=model.device)).states
    ends = model.distance(rollout[:, :, -1], goal)
    found = []
    for rank in range(len(candidates)):
        pictures = model.pictures(rollout[:, rank].mean(0)).cpu().numpy()
        found.append(
            Imagined(
                step=step,
                rank=rank,
                pictures=[_colour(picture) for picture in pictures],
                distance=float(ends[:, rank].mean()),
                doubt=float(ends[:, rank].std(correction=0)),
            )
        )
    return found


def _ends(model: ImageDynamics[Any], goal: torch.Tensor, state: torch.Tensor, actions: NDArray[Any]) -> torch.Tensor:
    """How far from the goal each member (P,) expects one action sequence to end."""
    rollout = model.rollout(state, torch.tensor(actions, device=model.device)).states
    return model.distance(rollout[:, 0, -1], goal)


def _colour(frame: NDArray[np.uint8]) -> Picture:
    """A frame (C, H, W) as (H, W, 3)."""
    return np.broadcast_to(frame.transpose(1, 2, 0), (*frame.shape[1:], 3)).copy()
