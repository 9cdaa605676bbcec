"""What every simulated robot does alike: connection, latch, clock, sequence numbers and pictures."""

import logging
from abc import ABC, abstractmethod
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock, VirtualClock
from hardware.errors import CommandRefusedError, NotConnectedError, StoppedError
from hardware.rendering import ModelRenderer
from hardware.robot import Array, CameraSpec, Observation, RobotSpec, SentAction

logger = logging.getLogger(__name__)


class Simulation(ABC):
    """Base of the simulated robots.

    Subclasses say how to restart, how to advance by one control period and what there is to see.

    Attributes:
        clock: the clock that ``send_action`` moves by one control period.
        env_steps: environment steps since the last reset, action repeat included.
    """

    def __init__(self, spec: RobotSpec, clock: Clock | None) -> None:
        self._spec = spec
        self.clock: Clock = clock or VirtualClock()
        self.env_steps = 0
        self._connected = False
        self._sequence = 0
        self._fault: str | None = None
        self._command = np.zeros(spec.action_size)
        self._renderer: ModelRenderer | None = None

    @property
    def spec(self) -> RobotSpec:
        """The robot's description; readable while disconnected."""
        return self._spec

    @property
    def turning(self) -> tuple[int, ...]:
        """Entries of ``qpos`` that look the same after a full turn: angles of hinges without limits."""
        model, _ = self._model_and_data()
        hinges = (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE) & (model.jnt_limited == 0)
        return tuple(int(address) for address in model.jnt_qposadr[hinges])

    @property
    def is_connected(self) -> bool:
        """Whether the robot can be read and commanded."""
        return self._connected

    def connect(self) -> None:
        """Start the simulation as ``reset(0)`` does; harmless when connected."""
        if not self._connected:
            self._connected = True
            self._sequence = 0
            self._begin(0)

    def disconnect(self) -> None:
        """Free what rendering holds; harmless when disconnected."""
        self._connected = False
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def reset(self, seed: int) -> Observation:
        """Start a new episode; the same seed gives the same start. Clears the latch: nothing moves any more.

        Raises:
            NotConnectedError: before ``connect``.
        """
        self._require_connection()
        self._begin(seed)
        return self.get_observation()

    def get_observation(self) -> Observation:
        """Read the simulation.

        Raises:
            NotConnectedError: before ``connect``.
        """
        self._require_connection()
        sequence = self._sequence
        self._sequence += 1
        start = {"simulation": self.clock.now()}
        values = self._values()
        end = {"simulation": self.clock.now()}
        images = {}
        for camera in self._spec.cameras:
            start[camera.name] = self.clock.now()
            images[camera.name] = self._observed(camera)
            end[camera.name] = self.clock.now()
        return Observation(sequence, values, images, start, end)

    def _observed(self, camera: CameraSpec) -> NDArray[np.uint8]:
        times = camera.supersampling
        drawn = self._picture(camera.name, times * camera.width, times * camera.height, fast=True)
        return drawn if times == 1 else _averaged(drawn, times)

    def send_action(self, action: Array) -> SentAction:
        """Send one command, (nu,) in command units, and advance robot and clock by one control period.

        Raises:
            NotConnectedError: before ``connect``.
            StoppedError: after ``stop``.
            CommandRefusedError: if the command is not finite or has the wrong shape.
            EpisodeOverError: if the environment's episode has ended.
        """
        self._require_connection()
        if self._fault is not None:
            raise StoppedError(
                f"{self._spec.name} was stopped: {self._fault}. Remove the cause, then call clear_fault()."
            )
        command = np.array(action, dtype=np.float64)
        if command.shape != (self._spec.action_size,) or not np.isfinite(command).all():
            raise CommandRefusedError(
                f"{self._spec.name} takes {self._spec.action_size} finite numbers, not {action!r}; send "
                f"commands through a SafetyFilter"
            )
        time = self.clock.now()
        self._advance(command)
        self._command = command
        self.clock.sleep_until(time + 1.0 / self._spec.control_rate)
        return SentAction(command.copy(), command.copy(), (), time)

    def stop(self, reason: str) -> None:
        """Latch: no command is taken, and simulated time stands still, until ``clear_fault`` or ``reset``."""
        logger.warning("%s stopped: %s", self._spec.name, reason)
        self._fault = reason

    def clear_fault(self) -> None:
        """Take commands again.

        Raises:
            StoppedError: while the cause persists, as after a simulation that diverged.
        """
        self._fault = None

    def render(self, camera: str | None = None, width: int = 480, height: int = 360) -> NDArray[np.uint8]:
        """A (height, width, 3) uint8 RGB picture in video quality.

        Raises:
            NotConnectedError: before ``connect``.
            ValueError: if there is no such camera.
            RenderingUnavailableError: if there is no OpenGL, or nothing that MuJoCo can draw.
        """
        self._require_connection()
        return self._picture(camera, width, height, fast=False)

    @abstractmethod
    def get_state(self) -> Array:
        """The simulator's full state, for ``set_state``."""

    @abstractmethod
    def set_state(self, state: Array) -> None:
        """Put the simulator into a state from ``get_state``; the clock goes on."""

    @abstractmethod
    def _restart(self, seed: int) -> None:
        """Start an episode."""

    @abstractmethod
    def _advance(self, command: Array) -> None:
        """Simulate one control period."""

    @abstractmethod
    def _values(self) -> dict[str, Array]:
        """Everything to be seen, as copies."""

    @abstractmethod
    def _model_and_data(self) -> tuple[Any, Any]:
        """The MjModel and MjData to draw."""

    def _begin(self, seed: int) -> None:
        self._fault = None
        self.env_steps = 0
        self._command = np.zeros(self._spec.action_size)
        self._restart(seed)

    def _picture(self, camera: str | None, width: int, height: int, *, fast: bool) -> NDArray[np.uint8]:
        model, data = self._model_and_data()
        if self._renderer is None:
            self._renderer = ModelRenderer(model)
        return self._renderer.render(data, camera, width, height, fast=fast)

    def _require_connection(self) -> None:
        if not self._connected:
            raise NotConnectedError(f"{self._spec.name} is not connected; call connect() first")


def _averaged(picture: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """A picture (h, w, 3) made smaller by a whole number, each pixel the mean of those it stands for."""
    height, width, channels = picture.shape
    tiles = picture.reshape(height // times, times, width // times, times, channels)
    averaged: NDArray[np.uint8] = (tiles.sum(axis=(1, 3), dtype=np.uint32) // times**2).astype(np.uint8)
    return averaged
