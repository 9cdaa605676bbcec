"""What the report needs beyond metrics.csv to show how one episode was predicted, planned and costed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

_COST_TERM = "cost_term/"
_SHAPES = {"times": 1, "observed": 2, "window_starts": 1, "predicted": 4, "elite_costs": 2, "plan_ms": 1}


@dataclass(frozen=True)
class Diagnostics:
    """One episode as the model, the planner and the cost saw it. Any array may be empty.

    Attributes:
        episode: the episode's number.
        state_names: (nx,) names of the state variables.
        times: (T,) seconds from the start of the episode.
        observed: (T, nx) the states that were observed.
        window_starts: (W,) where in the episode each prediction starts, as an index into ``times``.
        predicted: (W, P, H + 1, nx) particles rolled out open loop with the actions that were executed;
            index 0 of the third axis is the state observed at the window's start.
        elite_costs: (n_plans, iterations) mean cost of the elites after each refinement, padded with NaN.
        plan_ms: (n_plans,) how long each planning took, ms.
        cost_terms: by name, (T',) with T' at most T: what each term of the cost contributed at every step.
    """

    episode: int
    state_names: tuple[str, ...]
    times: NDArray[np.float64]
    observed: NDArray[np.float64]
    window_starts: NDArray[np.int64]
    predicted: NDArray[np.float32]
    elite_costs: NDArray[np.float64]
    plan_ms: NDArray[np.float64]
    cost_terms: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            ValueError: if a shape contradicts another.
        """
        for name, dimensions in _SHAPES.items():
            array = getattr(self, name)
            if array.ndim != dimensions:
                raise ValueError(f"diagnostics: {name} has shape {array.shape}; it needs {dimensions} dimensions")
        steps, size = self.observed.shape
        windows, _, length, predicted_size = self.predicted.shape
        _require(len(self.times) == steps, f"{len(self.times)} times for {steps} observed states")
        _require(len(self.state_names) == size, f"{len(self.state_names)} names for {size} state variables")
        _require(len(self.window_starts) == windows, f"{len(self.window_starts)} starts for {windows} windows")
        if windows:
            _require(predicted_size == size, f"predictions of {predicted_size} variables, {size} observed")
            low, high = int(self.window_starts.min()), int(self.window_starts.max())
            _require(
                low >= 0 and high + length <= steps,
                f"windows of {length} states starting at {low} to {high} do not fit into {steps} steps",
            )
        for name, values in self.cost_terms.items():
            _require(
                values.ndim == 1 and len(values) <= steps,
                f"cost term {name!r} has shape {values.shape}; it needs at most {steps} values, one per step",
            )

    def save(self, path: Path) -> None:
        """Write the .npz file in one step: it is there whole, or not at all."""
        arrays = {name: getattr(self, name) for name in _SHAPES}
        arrays |= {_COST_TERM + name: values for name, values in self.cost_terms.items()}
        arrays |= {
            "episode": np.array(self.episode),
            "state_names": np.array(self.state_names, dtype=np.str_),
        }
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or lacks something.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls(
                episode=int(arrays["episode"]),
                state_names=tuple(str(name) for name in arrays["state_names"]),
                cost_terms={
                    name.removeprefix(_COST_TERM): values
                    for name, values in arrays.items()
                    if name.startswith(_COST_TERM)
                },
                **{name: arrays[name] for name in _SHAPES},
            )
        except FileNotFoundError:
            raise
        except Exception as error:  # zip, numpy and missing names each raise their own
            raise ValueError(
                f"{path}: not a readable diagnostics file: {error}. Delete it and report again."
            ) from error


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"diagnostics: {what}")
