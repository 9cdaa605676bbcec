from typing import Any

import mujoco
import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.randomisation import LookRandomiser

LOOKS = ("light_pos", "light_diffuse", "light_ambient", "geom_rgba", "mat_rgba", "cam_pos", "cam_quat", "cam_fovy")
NAMES = [name for name in dir(mujoco.MjModel) if not name.startswith("_")]


def fields(model: Any) -> dict[str, np.ndarray]:
    values = {name: getattr(model, name) for name in NAMES}
    return {name: value.copy() for name, value in values.items() if isinstance(value, np.ndarray)}


def test_a_draw_changes_looks_within_their_ranges_and_nothing_else() -> None:
    model = reaching_arm("so101").model
    before = fields(model)
    LookRandomiser(model, light=0.3, colour=0.1, camera_position=0.01, camera_angle=0.02, field_of_view=0.03).draw(
        np.random.default_rng(0)
    )
    after = fields(model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed <= set(LOOKS)
    assert {"light_pos", "geom_rgba", "cam_pos", "cam_quat", "cam_fovy"} <= changed
    assert 0 < np.abs(after["cam_pos"] - before["cam_pos"]).max() <= 0.01
    assert 0 < np.abs(after["geom_rgba"] - before["geom_rgba"]).max() <= 0.1 + 1e-6
    turn = np.empty(3)
    for now, then in zip(after["cam_quat"], before["cam_quat"], strict=True):
        mujoco.mju_subQuat(turn, now, then)
        assert 0 < np.abs(turn).max() <= 0.0201


def test_draws_do_not_add_up_and_restore_brings_the_own_look_back() -> None:
    model = reaching_arm("so101").model
    before = fields(model)
    looks = LookRandomiser(model)
    for seed in range(50):
        looks.draw(np.random.default_rng(seed))
    once = fields(model)
    looks.restore()
    assert all(np.array_equal(value, getattr(model, name)) for name, value in before.items())
    looks.draw(np.random.default_rng(49))
    assert all(np.array_equal(value, getattr(model, name)) for name, value in once.items())


def test_a_negative_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"colour is -0\.1"):
        LookRandomiser(reaching_arm("so101").model, colour=-0.1)
