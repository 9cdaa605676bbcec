"""The one place that draws MuJoCo models: fast pictures for observations, good ones for people.

Shadows, reflections and multisampling cost 25 times the rest of a small picture in software OpenGL, and an
observation needs none of them.
"""

import atexit
import functools
import os
import weakref
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.errors import RenderingUnavailableError
from hardware.names import unknown

_LARGEST_SHADOW_MAP = 2048
"""Texels; MuJoCo's default of twice as many doubles the time of a picture in software OpenGL."""

_open_renderers: "weakref.WeakSet[ModelRenderer]" = weakref.WeakSet()


class ModelRenderer:
    """Draws one model; contexts are made at the first picture of a size and kept until ``close``.

    Args:
        model: the MjModel. Its visual settings are left as they are.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._renderers: dict[tuple[int, int, bool], mujoco.Renderer] = {}
        _open_renderers.add(self)

    def render(
        self, data: Any, camera: str | None = None, width: int = 480, height: int = 360, *, fast: bool = False
    ) -> NDArray[np.uint8]:
        """A (height, width, 3) uint8 RGB picture.

        Args:
            data: the MjData to draw.
            camera: the camera's name, or its number as text; None is the first camera, or a free one if the
                model has none.
            width: pixels.
            height: pixels.
            fast: without shadows, reflections and multisampling.

        Raises:
            ValueError: if the model has no such camera.
            RenderingUnavailableError: if there is no OpenGL.
        """
        camera_id = self._camera_id(camera)
        key = (width, height, fast)
        if key not in self._renderers:
            self._renderers[key] = self._open(width, height, fast)
        renderer = self._renderers[key]
        renderer.update_scene(data, camera_id)
        if fast:
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        picture: NDArray[np.uint8] = renderer.render()
        return picture

    def close(self) -> None:
        """Free the OpenGL contexts; a later ``render`` opens them again."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _camera_id(self, camera: str | None) -> int:
        if camera is None:
            return 0 if self._model.ncam else -1
        index: int = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if index < 0 and camera.isdigit() and int(camera) < self._model.ncam:
            index = int(camera)
        if index < 0:
            known = [self._model.camera(i).name or str(i) for i in range(self._model.ncam)]
            raise ValueError(unknown("camera", camera, known))
        return index

    def _open(self, width: int, height: int, fast: bool) -> Any:
        visual = self._model.vis
        before = (
            visual.global_.offwidth,
            visual.global_.offheight,
            visual.quality.shadowsize,
            visual.quality.offsamples,
        )
        visual.global_.offwidth, visual.global_.offheight = width, height
        if fast:
            visual.quality.shadowsize = visual.quality.offsamples = 0
        else:
            visual.quality.shadowsize = min(visual.quality.shadowsize, _LARGEST_SHADOW_MAP)
        try:
            renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:
            raise RenderingUnavailableError(
                f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r}: {error!r}. Install "
                f"OpenGL (apt install libegl1 libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa), or go "
                f"on without pictures."
            ) from error
        finally:
            visual.global_.offwidth, visual.global_.offheight = before[:2]
            visual.quality.shadowsize, visual.quality.offsamples = before[2:]
        _close_at_exit()
        return renderer


@functools.cache
def _close_at_exit() -> None:
    """Free contexts before MuJoCo's own exit handler, which its first context registers, ends EGL."""

    def close_all() -> None:
        for renderer in list(_open_renderers):
            renderer.close()

    atexit.register(close_all)
