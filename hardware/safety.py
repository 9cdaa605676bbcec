"""The filter that stands between the loop and every robot.

Order: latched fault → finite → shape → age and sequence → jump from the previous command → position limits → obstacles
near by → velocity, acceleration and jerk → the way to rest within limits and clear of obstacles → the robot's own state
(tracking error, effort, temperature) → send. What a robot does not state is not checked: simulated robots have
limits of positions and rates alone (``StepLimits``); arms whose joints state a jerk have all of it, for position
commands (``ArmLimits``) and for velocity commands (``VelocityLimits``).

The previous command, not the measured state, is the reference: a lagging joint must not let the command creep
(ros2_control PR 2183). A command that is not finite is refused, never clamped (PR 3320). From a start outside the
limits commands may only move inwards.

This is a software stop, never an emergency stop: the motors keep their power.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hardware.clock import Clock
from hardware.errors import CommandRefusedError, StoppedError
from hardware.robot import Array, Observation, Robot, RobotSpec, SentAction
from hardware.step_limits import Reason, StepLimits

if TYPE_CHECKING:
    from hardware.exploration import Exploration
    from hardware.monitor import Monitor
    from hardware.twin import KinematicTwin


class Limits(Protocol):
    """What a command goes through; it knows the previous one."""

    previous: Array | None

    @property
    def moving(self) -> bool:
        """Whether the command has to brake before it rests."""
        ...

    @property
    def expected(self) -> Array | None:
        """(nu,) where the joints should be by now; None before the first command."""
        ...

    def reset(self, start: Array | None) -> None:
        """Begin anew, at rest at a command if one is given."""
        ...

    def locate(self, position: Array) -> None:
        """Take in where the joints are, (nu,)."""
        ...

    def limit(self, requested: Array) -> tuple[Array, tuple[Reason, ...]]:
        """The command to send instead of a request, and why it differs."""
        ...

    def brake(self) -> Array:
        """The next command on the way to rest."""
        ...

    def accept(self, sent: Array) -> None:
        """Go on from what was sent."""
        ...


class SafetyFilter:
    """Limits every command, says what it changed, and latches when a command must not be sent at all.

    Where joints state a jerk limit, or a twin or bounds for exploration are given, a refused command or a fault
    starts a software stop: from then on ``send`` follows the stop trajectory that was ready, whatever is asked for,
    and stops the robot once the command rests. Other robots are stopped at once.

    Args:
        spec: the robot's limits.
        twin: the arm's geometry; None leaves collisions out.
        monitor: watches tracking error, effort and temperature; None watches nothing.
        exploration: bounds while the model is unsure; None for the joints' own.
        max_age: seconds that an observation, or what a command was decided on, may be old; None for any age.
        largest_jump: rad that a request may be away from the previous command; None for any.
        clock: what ages are measured on; needed with ``max_age`` and ``monitor``.

    Raises:
        ValueError: if a limit makes no sense, or one is missing that what was asked for needs.
    """

    def __init__(
        self,
        spec: RobotSpec,
        *,
        twin: "KinematicTwin | None" = None,
        monitor: "Monitor | None" = None,
        exploration: "Exploration | None" = None,
        max_age: float | None = None,
        largest_jump: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if clock is None and (max_age is not None or monitor is not None):
            raise ValueError(f"{spec.name}: max_age and monitor need the clock that observations are stamped on")
        for name, limit in (("max_age", max_age), ("largest_jump", largest_jump)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{spec.name}: {name} is {limit}; it must be above 0")
        self._spec = spec
        self._limits = _limits(spec, twin, exploration)
        self._monitor, self._clock = monitor, clock
        self._max_age, self._largest_jump = max_age, largest_jump
        self._issued = -np.inf
        self._seen: tuple[int, float] | None = None
        self._fault: str | None = None
        self._stopping = False

    @property
    def fault(self) -> str | None:
        """Why nothing that is asked for is sent any more; None while all is well."""
        return self._fault

    @property
    def stopping(self) -> bool:
        """Whether the command is being braked because of a fault; keep calling ``send``."""
        return self._stopping

    def reset(self, observation: Observation | None = None) -> None:
        """Forget the previous command, as at the start of an episode; a latched fault stays.

        Args:
            observation: what the robot reads now, whose ``command`` (or position) the first command starts
                from; None reads the robot when the first command comes.

        Raises:
            CommandRefusedError: if the observation's command is not finite.
        """
        if self._stopping:
            return
        self._limits.reset(None)
        if observation is not None:
            self._begin(observation)
        self._issued, self._seen = -np.inf, None
        if self._monitor is not None:
            self._monitor.reset()

    def send(
        self, robot: Robot, action: Array, observation: Observation | None = None, issued: float | None = None
    ) -> SentAction:
        """Send an action, (nu,) in command units, as far as the limits allow.

        Args:
            robot: the robot.
            action: what is asked for.
            observation: what was read in this period, for the monitor; None where reading failed or nothing is
                watched.
            issued: when the action was decided, seconds on the clock; None where it is not known.

        Raises:
            StoppedError: while a fault is latched and the command rests, or when the monitor trips at rest.
            CommandRefusedError: if the action, or where the robot says it is, is not finite, has the wrong shape,
                is too old or too far away; the robot is stopped and the fault latched until ``clear_fault``. From
                motion nothing is raised: the stop trajectory is sent, and the receipt's reasons say so.
        """
        if self._fault is not None and not self._stopping:
            raise StoppedError(f"{self._spec.name}: {self._fault}. Remove the cause, then call clear_fault(robot).")
        requested = np.array(action, dtype=np.float64)
        if self._stopping:
            return self._braked(robot, requested)
        try:
            self._check(robot, requested, observation, issued)
            sent, reasons = self._limits.limit(requested)
            self._watch(observation)
        except (CommandRefusedError, StoppedError) as error:
            self.stop(robot, str(error))
            if not self._stopping:
                raise
            return self._braked(robot, requested)
        receipt = robot.send_action(sent)
        self._limits.accept(receipt.sent)
        return replace(receipt, requested=requested, reasons=reasons + receipt.reasons)

    def stop(self, robot: Robot, reason: str) -> None:
        """A software stop: latch a fault, and brake from the next ``send`` on; at once where nothing moves."""
        if self._fault is None:
            self._fault = reason
            self._stopping = self._limits.moving
            if not self._stopping:
                robot.stop(reason)

    def clear_fault(self, robot: Robot) -> None:
        """Send commands again, from where the robot is now; refuses as the robot does.

        Raises:
            StoppedError: while the command is still being braked, or what the monitor tripped over persists.
        """
        if self._stopping:
            raise StoppedError(f"{self._spec.name} is still braking: {self._fault}. Clear the fault when it stands")
        if self._fault is not None and self._monitor is not None:
            persisting = self._monitor.persists(robot.get_observation())
            if persisting is not None:
                raise StoppedError(f"{self._spec.name} stays stopped: {persisting}")
        robot.clear_fault()
        self._fault = None
        self.reset()

    def _check(self, robot: Robot, requested: Array, observation: Observation | None, issued: float | None) -> None:
        """Refuse what must not be sent in any form."""
        self._check_numbers(requested)
        if self._max_age is not None:
            self._check_age(observation, issued)
        if self._limits.previous is None:
            self._begin(observation or robot.get_observation())
        previous = self._limits.previous
        assert previous is not None
        if self._largest_jump is not None:
            self._check_jump(requested, previous, self._largest_jump)
        if observation is not None:
            self._locate(observation)

    def _watch(self, observation: Observation | None) -> None:
        """Refuse to go on where the robot does not do as it was told, or suffers."""
        if self._monitor is None or observation is None:
            return
        expected = self._limits.expected
        assert expected is not None
        assert self._clock is not None
        wrong = self._monitor.check(observation, expected, self._clock.now())
        if wrong is not None:
            raise StoppedError(f"{self._spec.name}: {wrong}")

    def _check_numbers(self, command: Array) -> None:
        names = [joint.name for joint in self._spec.joints]
        if not np.isfinite(command).all():
            named = zip(names, command.ravel(), strict=False)
            bad = ", ".join(f"{name} = {value}" for name, value in named if not np.isfinite(value))
            raise CommandRefusedError(
                f"{self._spec.name}: refused a command that is not finite: {bad or command}; look for a model or plan "
                f"that diverged, then call clear_fault(robot)"
            )
        if command.shape != (len(names),):
            raise CommandRefusedError(
                f"{self._spec.name}: refused a command of shape {command.shape}; it takes ({len(names)},), "
                f"one number each for {', '.join(names)}"
            )

    def _check_age(self, observation: Observation | None, issued: float | None) -> None:
        """Refuse to act on what is old, or older than what was acted on before."""
        assert self._clock is not None
        assert self._max_age is not None
        now = self._clock.now()
        if observation is not None:
            if self._seen is not None and observation.sequence < self._seen[0]:
                raise CommandRefusedError(
                    f"{self._spec.name}: observation {observation.sequence} came after {self._seen[0]}; look for a "
                    f"queue that is not emptied"
                )
            times = [end for source, end in observation.read_end.items() if source not in observation.images]
            self._seen = observation.sequence, max(times, default=now)
        if self._seen is not None and now - self._seen[1] > self._max_age:
            raise CommandRefusedError(
                f"{self._spec.name}: the newest observation is {now - self._seen[1]:.3f} s old, and "
                f"{self._max_age:g} s is the limit; look for a bus that hangs or a computer that is overloaded"
            )
        if issued is None:
            return
        if now - issued > self._max_age or issued < self._issued:
            raise CommandRefusedError(
                f"{self._spec.name}: refused a command that was decided {now - issued:.3f} s ago, after one of "
                f"{now - self._issued:.3f} s ago, and {self._max_age:g} s is the limit; look for a queue that is not "
                f"emptied, or a computer that is overloaded"
            )
        self._issued = issued

    def _check_jump(self, requested: Array, previous: Array, largest: float) -> None:
        jump = np.abs(requested - previous)
        if jump.max() > largest:
            joint = int(np.argmax(jump))
            raise CommandRefusedError(
                f"{self._spec.name}: refused a command that is {jump[joint]:.3g} rad from the one before it for "
                f"{self._spec.joints[joint].name}, and {largest:g} rad is the limit; move there in steps, or look "
                f"for a plan that was made from another pose"
            )

    def _braked(self, robot: Robot, requested: Array) -> SentAction:
        """One period on the stop trajectory; then the robot stands and is stopped."""
        command = self._limits.brake()
        receipt = robot.send_action(command)
        self._limits.accept(receipt.sent)
        if not self._limits.moving:
            self._stopping = False
            robot.stop(self._fault or "")
        if requested.shape != command.shape:
            requested = np.full_like(command, np.nan)
        left_out = np.nan_to_num(np.abs(requested - command), nan=np.inf, posinf=np.inf).tolist()
        reasons = tuple(
            ("software stop", joint.name, amount)
            for joint, amount in zip(self._spec.joints, left_out, strict=True)
            if amount > 0
        )
        return replace(receipt, requested=requested, reasons=reasons + receipt.reasons)

    def _begin(self, observation: Observation) -> None:
        """Start from the command that the robot is following, where it is."""
        self._limits.reset(self._start(observation))
        self._locate(observation)

    def _locate(self, observation: Observation) -> None:
        """Show the limits where the joints are; what is no number would switch them off."""
        position = observation.values.get("joint_position")
        if position is None:
            return
        if not np.isfinite(position).all():
            raise CommandRefusedError(
                f"{self._spec.name}: the robot reports a joint_position of {position}; look for a broken sensor, then "
                f"call clear_fault(robot)"
            )
        self._limits.locate(np.asarray(position, dtype=np.float64))

    def _start(self, observation: Observation) -> Array:
        """The command that the robot is following before the first of ours."""
        source = "command" if "command" in observation.values else "joint_position"
        if source == "joint_position" and self._spec.command_mode != "position":
            return np.zeros(self._spec.action_size)
        start = np.array(observation.values[source], dtype=np.float64)
        if not np.isfinite(start).all():
            raise CommandRefusedError(
                f"{self._spec.name}: there is nothing to start from, for the robot reports a {source} of {start}; look "
                f"for a broken sensor, then call clear_fault(robot)"
            )
        return start


def _limits(spec: RobotSpec, twin: "KinematicTwin | None", exploration: "Exploration | None") -> Limits:
    if not _is_arm(spec) and twin is None and exploration is None:
        return StepLimits(spec)
    if spec.command_mode == "velocity":
        from hardware.velocity_limits import VelocityLimits

        return VelocityLimits(spec, twin=twin, exploration=exploration)
    from hardware.arm_limits import ArmLimits

    return ArmLimits(spec, twin=twin, exploration=exploration)


def _is_arm(spec: RobotSpec) -> bool:
    """Whether its joints state what it takes to know where a command comes to rest."""
    if spec.command_mode == "velocity" and any(joint.position is None for joint in spec.joints):
        return False
    return spec.command_mode in ("position", "velocity") and any(joint.jerk is not None for joint in spec.joints)
