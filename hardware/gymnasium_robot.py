"""Any Gymnasium environment with continuous actions as a robot."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from hardware.clock import Clock
from hardware.errors import EpisodeOverError, RenderingUnavailableError
from hardware.names import unknown
from hardware.points import Points
from hardware.quiet import quiet_loading
from hardware.robot import Array, CameraSpec, JointSpec, RobotSpec
from hardware.simulated import Simulation
from hardware.snapshot import restore_snapshot, take_snapshot

_DEFAULT_RATE = 50.0


class GymnasiumRobot(Simulation):
    """A Gymnasium environment as a robot.

    Its observations hold ``observation`` (a dictionary's parts one after the other, by key), ``command``
    (nu,), ``reward`` summed over the action repeat, ``terminated``, ``truncated``, and in MuJoCo environments
    ``qpos``, ``qvel`` and the asked-for points.

    Args:
        env_id: the registered name, such as "HalfCheetah-v5".
        action_repeat: environment steps per command.
        points: what else to observe: value's name to "site:NAME", "geom:NAME", "body:NAME" or "sensor:NAME".
        cameras: cameras whose pictures go into observations.
        clock: the clock to advance; a VirtualClock of its own if None.
        **kwargs: handed to ``gymnasium.make``.

    Attributes:
        episode_steps: commands in a full episode; infinite where there is no time limit.

    Raises:
        ValueError: if there is no such environment, its actions are not continuous, the repeat is below 1, or
            a name does not exist.
        ModuleNotFoundError: if the environment needs a package that is not installed.
    """

    def __init__(
        self,
        env_id: str,
        *,
        action_repeat: int = 1,
        points: Mapping[str, str] | None = None,
        cameras: Sequence[CameraSpec] = (),
        clock: Clock | None = None,
        **kwargs: Any,
    ) -> None:
        if action_repeat < 1:
            raise ValueError(f"action_repeat is {action_repeat}; it must be 1 or more")
        self._env = _make(env_id, kwargs)
        self._repeat = action_repeat
        space = self._env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise ValueError(
                f"{env_id} has actions of the kind {space}; robots are driven by a Box of shape (nu,). Use "
                f"an environment with continuous actions, such as Pendulum-v1, or a continuous variant."
            )
        self._simulator = self._env.unwrapped if hasattr(self._env.unwrapped, "data") else None
        rate = _step_rate(self._env) / action_repeat
        normalized = bool(np.all(space.low == -1) and np.all(space.high == 1))
        spec = RobotSpec(
            name=env_id,
            joints=tuple(
                JointSpec(name, command=(float(low), float(high)))
                for name, low, high in zip(self._joint_names(), space.low, space.high, strict=True)
            ),
            command_mode="normalized" if normalized else "effort",
            control_rate=rate,
            cameras=tuple(cameras),
        )
        super().__init__(spec, clock)
        limit = self._env.spec.max_episode_steps
        self.episode_steps = float(-(-limit // action_repeat)) if limit else np.inf
        if points and self._simulator is None:
            raise ValueError(f"{env_id} is not a MuJoCo environment: it has no points to observe")
        self._points = Points(self._simulator.model, points) if points and self._simulator else None
        self._observation = np.zeros(0)
        self._reward = 0.0
        self._terminated = False
        self._truncated = False

    @property
    def turning(self) -> tuple[int, ...]:
        """See ``Simulation``; none in an environment without MuJoCo."""
        return () if self._simulator is None else super().turning

    def disconnect(self) -> None:
        """Free what rendering holds; harmless when disconnected."""
        super().disconnect()
        self._env.close()

    def get_state(self) -> Array:
        """The physics, the last observation, and where in the episode the environment is.

        Raises:
            NotImplementedError: if it is not a MuJoCo environment.
        """
        simulator = self._require_simulator()
        episode = [self._reward, self._terminated, self._truncated, self._elapsed(), self.env_steps]
        head = np.array(episode, dtype=np.float64)
        return np.concatenate([head, self._command, self._observation, take_snapshot(simulator.model, simulator.data)])

    def set_state(self, state: Array) -> None:
        """Put the environment into a state from ``get_state``; the clock goes on.

        Raises:
            NotImplementedError: if it is not a MuJoCo environment.
            ValueError: if the state is of another environment.
        """
        simulator = self._require_simulator()
        command_end = 5 + self.spec.action_size
        head = command_end + self._observation.size
        restore_snapshot(simulator.model, simulator.data, state[head:])
        self._reward = float(state[0])
        self._terminated, self._truncated = bool(state[1]), bool(state[2])
        self._set_elapsed(int(state[3]))
        self.env_steps = int(state[4])
        self._command = state[5:command_end].copy()
        self._observation = state[command_end:head].copy()

    def _restart(self, seed: int) -> None:
        observation, _ = self._env.reset(seed=seed)
        self._observation = _flatten(observation)
        self._reward, self._terminated, self._truncated = 0.0, False, False

    def _advance(self, command: Array) -> None:
        if self._terminated or self._truncated:
            raise EpisodeOverError(
                f"{self.spec.name}: the episode ended after {self.env_steps} environment steps; call reset(seed)"
            )
        self._reward = 0.0
        action = command.astype(self._env.action_space.dtype)
        for _ in range(self._repeat):
            observation, reward, self._terminated, self._truncated, _ = self._env.step(action)
            self.env_steps += 1
            self._reward += float(reward)
            if self._terminated or self._truncated:
                break
        self._observation = _flatten(observation)

    def _values(self) -> dict[str, Array]:
        values = {
            "observation": self._observation.copy(),
            "command": self._command.copy(),
            "reward": np.array(self._reward),
            "terminated": np.array(float(self._terminated)),
            "truncated": np.array(float(self._truncated)),
        }
        if self._simulator is not None:
            values["qpos"] = self._simulator.data.qpos.copy()
            values["qvel"] = self._simulator.data.qvel.copy()
        if self._points is not None and self._simulator is not None:
            values.update(self._points.read(self._simulator.data))
        return values

    def _model_and_data(self) -> tuple[Any, Any]:
        if self._simulator is None:
            raise RenderingUnavailableError(f"{self.spec.name} is not a MuJoCo environment: there is no model to draw")
        return self._simulator.model, self._simulator.data

    def _joint_names(self) -> list[str]:
        size = self._env.action_space.shape[0]
        if self._simulator is None or self._simulator.model.nu != size:
            return [f"action_{i}" for i in range(size)]
        model = self._simulator.model
        return [model.actuator(i).name or model.joint(model.actuator_trnid[i, 0]).name for i in range(size)]

    def _require_simulator(self) -> Any:
        if self._simulator is None:
            raise NotImplementedError(
                f"{self.spec.name} is not a MuJoCo environment: its state cannot be read or set. Use a "
                f"MuJoCo one, or do without get_state and set_state."
            )
        return self._simulator

    def _elapsed(self) -> int:
        limiter = self._limiter()
        return 0 if limiter is None else limiter._elapsed_steps

    def _set_elapsed(self, steps: int) -> None:
        limiter = self._limiter()
        if limiter is not None:
            limiter._elapsed_steps = steps

    def _limiter(self) -> Any:
        """The TimeLimit wrapper, if there is one."""
        env = self._env
        while env is not self._env.unwrapped:
            if isinstance(env, gymnasium.wrappers.TimeLimit):
                return env
            env = env.env
        return None


def _make(env_id: str, kwargs: dict[str, Any]) -> Any:
    try:
        with quiet_loading():
            return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise ModuleNotFoundError(f"{env_id} needs a package that is not installed: {error}") from error
    except gymnasium.error.Error as error:
        raise ValueError(unknown("Gymnasium environment", env_id, gymnasium.registry)) from error


def _step_rate(env: Any) -> float:
    """Environment steps per second: from the environment's own time step, else its video rate."""
    timestep = getattr(env.unwrapped, "dt", None) or getattr(env.unwrapped, "tau", None)
    if timestep:
        return 1.0 / float(timestep)
    return float(env.unwrapped.metadata.get("render_fps") or _DEFAULT_RATE)


def _flatten(observation: Any) -> Array:
    if isinstance(observation, Mapping):
        return np.concatenate([_flatten(observation[key]) for key in sorted(observation)])
    return np.array(observation, dtype=np.float64).ravel()
