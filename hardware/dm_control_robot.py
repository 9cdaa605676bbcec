"""Any task of the DeepMind control suite as a robot."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardware.clock import Clock
from hardware.errors import EpisodeOverError
from hardware.names import unknown
from hardware.points import Points
from hardware.quiet import quiet_loading
from hardware.robot import Array, CameraSpec, JointSpec, RobotSpec
from hardware.simulated import Simulation
from hardware.snapshot import restore_snapshot, take_snapshot

with quiet_loading():
    from dm_control import suite


class DmControlRobot(Simulation):
    """A control-suite environment as a robot.

    Its observations hold the suite's own, ``qpos``, ``qvel``, ``command`` (nu,), ``reward`` summed over the
    action repeat, ``terminated`` (1 at an end with discount 0), ``truncated`` (1 at the time limit), and the
    asked-for points.

    Args:
        domain: the suite's domain, such as "cartpole".
        task: the domain's task, such as "swingup".
        action_repeat: environment steps per command.
        points: what else to observe: value's name to "site:NAME", "geom:NAME", "body:NAME" or "sensor:NAME".
        cameras: cameras whose pictures go into observations.
        time_limit: seconds of an episode; None for the task's own.
        clock: the clock to advance; a VirtualClock of its own if None.

    Attributes:
        episode_steps: commands in a full episode; infinite where there is no time limit.

    Raises:
        ValueError: if there is no such domain or task, the repeat is below 1, or a name does not exist.
    """

    def __init__(
        self,
        domain: str,
        task: str,
        *,
        action_repeat: int = 1,
        points: Mapping[str, str] | None = None,
        cameras: Sequence[CameraSpec] = (),
        time_limit: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if action_repeat < 1:
            raise ValueError(f"action_repeat is {action_repeat}; it must be 1 or more")
        self._env = _load(domain, task, time_limit)
        self._repeat = action_repeat
        limits = self._env.action_spec()
        model = self._env.physics.model.ptr
        low, high = (np.broadcast_to(bound, limits.shape) for bound in (limits.minimum, limits.maximum))
        normalized = bool(np.all(low == -1) and np.all(high == 1))
        names = [model.actuator(i).name or f"actuator_{i}" for i in range(model.nu)]
        names = names if len(names) == limits.shape[0] else [f"action_{i}" for i in range(limits.shape[0])]
        spec = RobotSpec(
            name=f"{domain}-{task}",
            joints=tuple(
                JointSpec(name, command=(float(lower), float(upper)))
                for name, lower, upper in zip(names, low, high, strict=True)
            ),
            command_mode="normalized" if normalized else "effort",
            control_rate=1.0 / (self._env.control_timestep() * action_repeat),
            cameras=tuple(cameras),
        )
        super().__init__(spec, clock)
        limit = self._env._step_limit
        self.episode_steps = limit if np.isinf(limit) else float(-(-_ceil(limit) // action_repeat))
        self._points = Points(model, points or {})
        self._reward = 0.0
        self._terminated = False
        self._truncated = False

    def get_state(self) -> Array:
        """The physics, what the task wrote into the model, and where in the episode it is."""
        episode = [self._reward, self._terminated, self._truncated, self._env._step_count, self.env_steps]
        physics = take_snapshot(*self._model_and_data())
        return np.concatenate([np.array(episode, dtype=np.float64), self._command, physics])

    def set_state(self, state: Array) -> None:
        """Put the environment into a state from ``get_state``; the clock goes on.

        Raises:
            ValueError: if the state is of another environment.
        """
        head = 5 + self.spec.action_size
        restore_snapshot(*self._model_and_data(), state[head:])
        self._reward = float(state[0])
        self._terminated, self._truncated = bool(state[1]), bool(state[2])
        self._env._step_count, self.env_steps = int(state[3]), int(state[4])
        self._env._reset_next_step = self._terminated or self._truncated
        self._command = state[5:head].copy()

    def _restart(self, seed: int) -> None:
        self._env.task.random.seed(seed)
        self._env.reset()
        self._reward, self._terminated, self._truncated = 0.0, False, False

    def _advance(self, command: Array) -> None:
        if self._terminated or self._truncated:
            raise EpisodeOverError(
                f"{self.spec.name}: the episode ended after {self.env_steps} environment steps; call reset(seed)"
            )
        self._reward = 0.0
        for _ in range(self._repeat):
            step = self._env.step(command)
            self.env_steps += 1
            self._reward += float(step.reward)
            if step.last():
                self._terminated = step.discount == 0.0
                self._truncated = not self._terminated
                break

    def _values(self) -> dict[str, Array]:
        physics = self._env.physics
        observed = self._env.task.get_observation(physics)
        values = {name: np.array(value, dtype=np.float64) for name, value in observed.items()}
        values["qpos"] = np.array(physics.data.qpos)
        values["qvel"] = np.array(physics.data.qvel)
        values["command"] = self._command.copy()
        values["reward"] = np.array(self._reward)
        values["terminated"] = np.array(float(self._terminated))
        values["truncated"] = np.array(float(self._truncated))
        values.update(self._points.read(physics.data))
        return values

    def _model_and_data(self) -> tuple[Any, Any]:
        return self._env.physics.model.ptr, self._env.physics.data.ptr


def _ceil(number: float) -> int:
    """Rounded up, but for rounding errors."""
    return math.ceil(number - 1e-9)


def _load(domain: str, task: str, time_limit: float | None) -> Any:
    tasks: dict[str, list[str]] = {}
    for known_domain, known_task in suite.ALL_TASKS:
        tasks.setdefault(known_domain, []).append(known_task)
    if domain not in tasks:
        raise ValueError(unknown("dm_control domain", domain, tasks))
    if task not in tasks[domain]:
        raise ValueError(f"dm_control {domain}: {unknown('task', task, tasks[domain])}")
    arguments: dict[str, Any] = {"random": 0}
    if time_limit is not None:
        arguments["time_limit"] = time_limit
    with quiet_loading():
        return suite.load(domain, task, task_kwargs=arguments)
