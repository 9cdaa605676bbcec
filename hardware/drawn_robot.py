"""Small simulated worlds that draw their own pictures: no physics engine, no OpenGL."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.clock import Clock
from hardware.errors import RenderingUnavailableError
from hardware.robot import Array, CameraSpec, JointSpec, RobotSpec
from hardware.simulated import Simulation

Picture = NDArray[np.uint8]


class DrawnRobot(Simulation):
    """Base of simulations whose whole state is a few numbers, and whose goal is a pose.

    Commands are within [-1, 1]. Observations hold ``state`` (nx,), ``goal`` (ng,) and ``command`` (nu,).

    Args:
        name: the world's name.
        joints: names of the commands.
        rate: commands per second, Hz.
        camera: the one that observes the world.
        clock: the clock to advance; a VirtualClock of its own if None.
    """

    def __init__(
        self, name: str, joints: Sequence[str], rate: float, camera: CameraSpec, clock: Clock | None = None
    ) -> None:
        commands = tuple(JointSpec(joint, command=(-1.0, 1.0)) for joint in joints)
        super().__init__(RobotSpec(name, commands, "normalized", rate, cameras=(camera,)), clock)
        self._state = np.zeros(0)
        self._goal = np.zeros(0)

    @abstractmethod
    def begin(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """The state (nx,) that an episode starts in, and its goal (ng,)."""

    @abstractmethod
    def step(self, state: Array, command: Array) -> Array:
        """The state (nx,) one control period later."""

    @abstractmethod
    def draw(self, state: Array, width: int, height: int) -> Picture:
        """What a state (nx,) or a goal (ng,) looks like: (height, width, 3) uint8."""

    def get_state(self) -> Array:
        """State, goal, last command and steps so far, for ``set_state``."""
        return np.concatenate([self._state, self._goal, self._command, [self.env_steps]])

    def set_state(self, state: Array) -> None:
        """Put the world into a state from ``get_state``; the clock goes on.

        Raises:
            ValueError: if the state is of another world.
        """
        sizes = np.cumsum([len(self._state), len(self._goal), len(self._command), 1])
        if len(state) != sizes[-1]:
            raise ValueError(f"{self.spec.name}: a state holds {sizes[-1]} numbers, not {len(state)}")
        parts = np.split(np.array(state, dtype=np.float64), sizes[:-1])
        self._state, self._goal, self._command, self.env_steps = *parts[:3], int(parts[3][0])

    def _restart(self, seed: int) -> None:
        self._state, self._goal = self.begin(np.random.default_rng(seed))

    def _advance(self, command: Array) -> None:
        self._state = self.step(self._state, np.clip(command, -1.0, 1.0))
        self.env_steps += 1

    def _values(self) -> dict[str, Array]:
        return {"state": self._state.copy(), "goal": self._goal.copy(), "command": self._command.copy()}

    def _picture(self, camera: str | None, width: int, height: int, *, fast: bool) -> Picture:
        return self.draw(self._state, width, height)

    def _model_and_data(self) -> tuple[Any, Any]:
        raise RenderingUnavailableError(f"{self.spec.name} draws itself: there is no MuJoCo model of it")


class Canvas:
    """A black picture of a square world in the middle, on which bright shapes with smooth edges are drawn.

    Args:
        width: pixels.
        height: pixels.
        side: length of the world's sides; its origin is at the top left.
    """

    def __init__(self, width: int, height: int, side: float) -> None:
        self._scale = min(width, height) / side
        left, top = (width / self._scale - side) / 2, (height / self._scale - side) / 2
        self._columns = (np.arange(width) + 0.5) / self._scale - left
        self._rows = ((np.arange(height) + 0.5) / self._scale - top)[:, None]
        self._brightness = np.zeros((height, width))

    def capsule(self, start: Array, end: Array, radius: float, brightness: float) -> None:
        """Everything within a radius of the line from start (2,) to end (2,); a disc where they are the same."""
        along = end - start
        length = float(along @ along)
        across, down = self._columns - start[0], self._rows - start[1]
        share = np.clip((across * along[0] + down * along[1]) / length, 0, 1) if length else 0.0
        apart = np.hypot(across - share * along[0], down - share * along[1])
        covered = np.clip((radius - apart) * self._scale + 0.5, 0, 1)
        self._brightness += covered * (brightness - self._brightness)

    def picture(self) -> Picture:
        """(height, width, 3) uint8."""
        grey = np.round(255 * self._brightness).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
