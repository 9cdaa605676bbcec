"""Pictures: fast ones for observations, good ones for people, and a clear error without OpenGL."""

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from hardware.arms.so101 import so101_push
from hardware.dm_control_robot import DmControlRobot
from hardware.gymnasium_robot import GymnasiumRobot
from hardware.rendering import ModelRenderer

SCENE = """
<mujoco>
  <visual><quality shadowsize="1024" offsamples="4"/></visual>
  <asset><material name="mirror" reflectance="0.3" rgba="0.5 0.6 0.7 1"/></asset>
  <worldbody>
    <light pos="1 1 3" dir="-0.3 -0.3 -1" castshadow="true"/>
    <camera name="front" pos="0 -2 1.2" xyaxes="1 0 0 0 0.5 0.87"/>
    <camera pos="0 0 3"/>
    <geom type="plane" size="2 2 0.1" material="mirror"/>
    <geom type="sphere" size="0.25" pos="0 0 0.4" rgba="0.9 0.2 0.1 1"/>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def test_the_fast_picture_is_the_good_one_without_shadow_and_reflection(scene) -> None:  # type: ignore[no-untyped-def]
    model, data = scene
    renderer = ModelRenderer(model)
    good = renderer.render(data, "front", 96, 64).astype(float)
    fast = renderer.render(data, "front", 96, 64, fast=True).astype(float)
    assert good.shape == fast.shape == (64, 96, 3)
    assert good.std() > 10, "there is something to see"
    assert np.abs(good - fast).mean() < 12
    assert np.abs(good - fast).max() > 30, "the shadow is missing from the fast one"
    flags = renderer._renderers[96, 64, True].scene.flags
    assert not flags[mujoco.mjtRndFlag.mjRND_SHADOW]
    assert not flags[mujoco.mjtRndFlag.mjRND_REFLECTION]
    assert renderer._renderers[96, 64, False].scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW]
    assert renderer._renderers[96, 64, True]._mjr_context.offSamples == 0
    assert renderer._renderers[96, 64, True]._mjr_context.shadowSize == 0
    renderer.close()


def test_the_models_settings_are_left_as_they_were(scene) -> None:  # type: ignore[no-untyped-def]
    model, data = scene
    renderer = ModelRenderer(model)
    renderer.render(data, "front", 800, 700, fast=True)
    assert model.vis.quality.shadowsize == 1024
    assert model.vis.quality.offsamples == 4
    assert (model.vis.global_.offwidth, model.vis.global_.offheight) == (640, 480)
    renderer.close()


def test_cameras_by_name_and_number(scene) -> None:  # type: ignore[no-untyped-def]
    model, data = scene
    renderer = ModelRenderer(model)
    front = renderer.render(data, "front", 48, 32)
    np.testing.assert_array_equal(renderer.render(data, None, 48, 32), front)
    np.testing.assert_array_equal(renderer.render(data, "0", 48, 32), front)
    assert not np.array_equal(renderer.render(data, "1", 48, 32), front)
    with pytest.raises(ValueError, match="no camera 'fornt'; did you mean 'front'"):
        renderer.render(data, "fornt", 48, 32)
    with pytest.raises(ValueError, match="no camera '7'"):
        renderer.render(data, "7", 48, 32)
    renderer.close()


@pytest.mark.parametrize(
    "make",
    [so101_push, lambda: DmControlRobot("cartpole", "swingup"), lambda: GymnasiumRobot("HalfCheetah-v5")],
    ids=["mujoco", "dm_control", "gymnasium"],
)
def test_robots_can_be_drawn_again_and_again(make) -> None:  # type: ignore[no-untyped-def]
    robot = make()
    for _ in range(3):
        robot.connect()
        first = robot.render(width=64, height=48)
        for _ in range(20):
            robot.send_action(robot.spec.command_limits[1])
        later = robot.render(width=64, height=48)
        assert first.shape == later.shape == (48, 64, 3)
        assert not np.array_equal(first, later)
        assert robot.render(width=32, height=24).shape == (24, 32, 3)
        robot.disconnect()


def test_drawing_does_not_disturb_the_simulation() -> None:
    paths = []
    for film in (False, True):
        robot = so101_push()
        robot.connect()
        for _ in range(10):
            robot.send_action(np.array([0.3, 0.0, 0.5, 1.0]))
            if film:
                robot.render(width=32, height=24)
        paths.append(robot.get_state())
        robot.disconnect()
    np.testing.assert_array_equal(*paths)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=False
    )


def test_without_opengl_there_is_a_clear_error_and_the_robot_goes_on() -> None:
    code = """
import numpy as np
from hardware.arms.reaching import reaching_arm
from hardware.errors import RenderingUnavailableError
robot = reaching_arm("so101")
robot.connect()
try:
    robot.render()
except RenderingUnavailableError as error:
    assert "libegl1" in str(error) and "libosmesa6" in str(error), error
else:
    raise SystemExit("drew without OpenGL")
robot.send_action(np.zeros(6))
"""
    done = run_python(code, MUJOCO_GL="disable")
    assert done.returncode == 0, done.stderr


def test_the_users_choice_of_opengl_stands() -> None:
    code = "import os, hardware; print(os.environ.get('MUJOCO_GL'))"
    assert run_python(code, MUJOCO_GL="osmesa").stdout.strip() == "osmesa"
    assert run_python(code, DISPLAY=":0").stdout.strip() == "None"
    assert run_python(code).stdout.strip() in ("egl", "osmesa", "disable")


def test_drawing_works_where_mujoco_was_imported_first() -> None:
    code = "import mujoco; from hardware.arms.reaching import reaching_arm; r = reaching_arm('so101'); r.connect()\n"
    code += "print(r.render().std())"
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 10


def test_an_open_renderer_does_not_complain_at_exit() -> None:
    code = "from hardware.arms.reaching import reaching_arm; r = reaching_arm('so101'); r.connect(); "
    code += "r.render(width=32, height=24)"
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
