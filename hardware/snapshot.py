"""A whole MuJoCo simulation as one vector, so that it goes on bit for bit from where it was.

Environments keep more than MuJoCo's integration state: targets are written into the model at reset, and
rewards read derived quantities that lag the state by a substep. Both are part of a snapshot.
"""

from typing import Any

import mujoco
import numpy as np

from hardware.robot import Array

_MODEL_FIELDS = (
    *("body_pos", "body_quat", "geom_pos", "geom_quat", "geom_size", "site_pos", "site_quat", "site_size"),
    *("qpos0", "wrap_prm", "hfield_data"),
)
_DERIVED_FIELDS = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat"),
    *("subtree_com", "cinert", "cvel", "qacc", "qfrc_actuator", "actuator_force", "cfrc_ext", "sensordata"),
)
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def take_snapshot(model: Any, data: Any) -> Array:
    """Everything that the simulation's future and its present readings depend on."""
    state = np.empty(mujoco.mj_stateSize(model, _STATE))
    mujoco.mj_getState(model, data, state, _STATE)
    parts = [getattr(model, name).ravel() for name in _MODEL_FIELDS]
    parts += [getattr(data, name).ravel() for name in _DERIVED_FIELDS]
    return np.concatenate([state, *parts])


def restore_snapshot(model: Any, data: Any, snapshot: Array) -> None:
    """Put a simulation back.

    Raises:
        ValueError: if the snapshot is of another model.
    """
    size = mujoco.mj_stateSize(model, _STATE)
    fields = [getattr(model, name) for name in _MODEL_FIELDS]
    derived = [getattr(data, name) for name in _DERIVED_FIELDS]
    expected = size + sum(field.size for field in fields + derived)
    if snapshot.shape != (expected,):
        raise ValueError(f"the state has shape {snapshot.shape}; this model's has shape ({expected},)")
    rest = np.split(snapshot[size:], np.cumsum([field.size for field in fields + derived])[:-1])
    for field, part in zip(fields, rest[: len(fields)], strict=True):
        field[...] = part.reshape(field.shape)
    mujoco.mj_setState(model, data, np.ascontiguousarray(snapshot[:size]), _STATE)
    mujoco.mj_forward(model, data)
    for field, part in zip(derived, rest[len(fields) :], strict=True):
        field[...] = part.reshape(field.shape)
