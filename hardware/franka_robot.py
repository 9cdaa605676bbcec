"""Drives a Franka Research 3 through franky (https://github.com/TimSchneider42/franky) and libfranka.

The 1 kHz control loop runs in franky's own thread; commands are handed to it, and it never waits for Python:

- position commands are tracked by a joint impedance controller, τ = K (q_ref − q) + D (q̇_ref − q̇) and the Coriolis
  torques, with the torque rate limited to 1 N·m a millisecond; q̇_ref is the rate at which the commands change, and
  q_ref stays so close to where the arm is that K (q_ref − q) is at most half of what the joint can: a stiff
  controller that asks for more than the torque and its rate allow makes the arm swing;
- velocity commands go to libfranka's joint velocity interface, smoothed by ruckig.

A dead-man is part of every command, and the control thread itself watches it: when no new command arrives within
``command_timeout`` of the robot's own time, the arm is brought to rest (by damping, or by decelerating to zero
velocity) and then held where it is by the robot. If this whole process dies, the connection closes and the robot stops
by itself. (franky's own 50 ms ``signal_timeout`` belongs to its bare torque interface, which is not used here.)

``stop`` is a software stop, never an emergency stop: keep the robot's enabling device or power cut-off in your hand.
"""

import contextlib
import logging
import queue
import threading
from typing import Any, Literal

import numpy as np

from hardware.clock import Clock, MonotonicClock
from hardware.errors import (
    CommandRefusedError,
    ConnectionLostError,
    MissingPackageError,
    NotConnectedError,
    StaleStateError,
    StoppedError,
)
from hardware.franka_errors import FORCE_THRESHOLDS, TORQUE_THRESHOLDS, explain, raised_flags
from hardware.franka_limits import ACCELERATION, JERK, JOINT_NAMES, TORQUE, VELOCITY
from hardware.robot import Array, Observation, RobotSpec, SentAction
from hardware.robot_file import Points

try:
    import franky
except ImportError as error:
    raise MissingPackageError(
        f"a Franka robot needs the package franky-control ({error}): pip install robot-ctrl[franka]"
    ) from error

logger = logging.getLogger(__name__)

STIFFNESS = np.array([300.0, 300.0, 300.0, 300.0, 250.0, 150.0, 50.0])
"""N·m/rad of the impedance controller: at the large joints half of what libfranka's joint impedance example has.
With all of it, commands that turn round quickly made joint 3 swing by 0.3 rad on franky-sim, as the torque's rate is
limited."""
DAMPING = np.array([50.0, 50.0, 50.0, 50.0, 30.0, 25.0, 15.0])
"""N·m·s/rad of the impedance controller; as in that example."""
LEASH = 0.5 * TORQUE / STIFFNESS
"""rad; how far ahead of the measured position the impedance controller's reference may be."""
CONNECT_TIMEOUT = 5.0
"""s; a robot that already serves another client answers nothing at all."""
REST_TIMEOUT = 3.0
"""s within which every stop is over; franky's own bound is 2 s."""

_MODES = {
    "UserStopped": "its stop button is pressed: release it",
    "Guiding": "it is being guided by hand: let go of it",
    "Other": "its joints are locked or FCI is off: unlock the joints and activate FCI in Desk",
    "Reflex": "it stopped at an error",
    "AutomaticErrorRecovery": "it is recovering from an error: wait",
}


class FrankaRobot:
    """A Franka Research 3 on the network, driven joint by joint.

    Observations hold, per joint (7,): ``joint_position`` rad, ``joint_velocity`` rad/s, ``effort`` N·m (measured at the
    joint), ``external_torque`` N·m (estimated), ``command`` (the last that was sent; before the first, the measured
    position, or zero velocity), and ``end_effector_position`` (3,) m in the robot's base frame. They are what the
    robot reported within the last millisecond before ``read_end``.

    Args:
        host: the robot's address.
        spec: its joints and limits, as in ``hardware/robots/fr3.yaml``; ``command_mode`` is "position" or "velocity".
        realtime: "enforce" refuses to connect from a kernel without PREEMPT_RT, as a physical arm needs;
            "ignore" is for simulators.
        command_timeout: seconds without a command after which the arm is brought to rest.
        state_timeout: seconds for which the robot's report may stay the same.
        clock: gives the times of observations and commands.
        points: named points of the arm from its joint positions, which join the observations.

    Raises:
        ValueError: if the spec is not an FR3's, or a time-out cannot be.
    """

    def __init__(
        self,
        host: str,
        spec: RobotSpec,
        *,
        realtime: Literal["enforce", "ignore"] = "enforce",
        command_timeout: float = 0.1,
        state_timeout: float = 0.1,
        clock: Clock | None = None,
        points: Points | None = None,
    ) -> None:
        _check(spec, command_timeout, state_timeout)
        self._host = host
        self._spec = spec
        self._realtime = realtime
        self._command_timeout = command_timeout
        self._state_timeout = state_timeout
        self._clock = clock or MonotonicClock()
        self._points = points
        self._robot: Any = None
        self._fault: str | None = None
        self._lost = False
        self._command: Array | None = None
        self._sequence = 0
        self._robot_time = -1.0
        self._robot_time_seen = 0.0

    @property
    def spec(self) -> RobotSpec:
        """The robot's description; readable while disconnected."""
        return self._spec

    @property
    def is_connected(self) -> bool:
        """Whether the robot can be read and commanded."""
        return self._robot is not None and not self._lost

    def connect(self) -> None:
        """Connect, without moving; harmless when connected. An error that the robot shows is latched, not cleared.

        Raises:
            ConnectionLostError: if there is no robot, it serves another client, or the kernel is not real-time.
        """
        if self.is_connected:
            return
        self.disconnect()
        robot = _open(self._host, franky.RealtimeConfig.Enforce if self._realtime == "enforce" else _IGNORE)
        for limit, most in (
            (robot.joint_velocity_limit, VELOCITY),
            (robot.joint_acceleration_limit, ACCELERATION),
            (robot.joint_jerk_limit, JERK),
        ):
            limit.set(np.minimum(limit.max, most))  # franky 2.0 knows those of the FR3's predecessor only
        robot.set_collision_behavior(TORQUE_THRESHOLDS, FORCE_THRESHOLDS)
        self._robot, self._lost, self._fault = robot, False, None
        self._command, self._sequence, self._robot_time = None, 0, -1.0
        self._fault = self._complaint(self._read())

    def disconnect(self) -> None:
        """Bring the arm to rest, which takes up to ``REST_TIMEOUT``, and release it; harmless when disconnected."""
        if self._robot is None:
            return
        try:
            if not self._lost:
                self._begin_stop()
                self._robot.join_motion(REST_TIMEOUT)
        except Exception as error:  # whatever fails, the connection is closed, and then the robot stops by itself
            logger.warning("%s at %s: %s", self._spec.name, self._host, error)
        finally:
            self._robot = None

    def get_observation(self) -> Observation:
        """Read the robot, also while it is stopped.

        Raises:
            NotConnectedError: before ``connect``.
            ConnectionLostError: if the robot does not answer any more.
            StaleStateError: if what it reports has not changed for longer than ``state_timeout``; it is latched.
        """
        self._require_connection()
        started = self._clock.now()
        state = self._read()
        ended = self._clock.now()
        self._check_age(state.time.to_sec(), ended)
        sequence = self._sequence
        self._sequence += 1
        position = np.array(state.q)
        values = {
            "joint_position": position,
            "joint_velocity": np.array(state.dq),
            "effort": np.array(state.tau_J),
            "external_torque": np.array(state.tau_ext_hat_filtered),
            "command": self._resting_command(position) if self._command is None else self._command.copy(),
            "end_effector_position": np.array(state.O_T_EE.translation).ravel(),
        }
        if self._points is not None:
            values |= self._points(position)
        return Observation(sequence, values, {}, {"joints": started}, {"joints": ended})

    def send_action(self, action: Array) -> SentAction:
        """Hand a command to the control thread, (7,) in rad or rad/s, and return at once.

        Raises:
            NotConnectedError: before ``connect``.
            StoppedError: after ``stop``, after an error of the robot, or when the time since the last command
                exceeded ``command_timeout``; all are latched.
            CommandRefusedError: if the command is not finite or has the wrong shape.
            ConnectionLostError: if the robot does not answer any more.
        """
        self._require_connection()
        self._require_no_fault()
        command = np.array(action, dtype=np.float64)
        if command.shape != (7,) or not np.isfinite(command).all():
            raise CommandRefusedError(
                f"{self._spec.name} takes 7 finite numbers, not {action!r}; send commands through a SafetyFilter"
            )
        if self._command is not None and not self._robot.is_in_control:
            self._latch_end_of_control()
        time = self._clock.now()
        self._call("move", self._motion(command), asynchronous=True)
        self._command = command
        return SentAction(command.copy(), command.copy(), (), time)

    def stop(self, reason: str) -> None:
        """A software stop: the control thread brings the arm to rest, and no command is taken any more.

        Returns at once; the arm comes to rest within a second or so and is then held by the robot.
        """
        logger.warning("%s stopped: %s", self._spec.name, reason)
        self._fault = self._fault or reason
        if self.is_connected:
            try:
                self._begin_stop()
            except Exception as error:  # a stop must never fail upwards: the reason for it matters more
                logger.error("%s: the stop could not be commanded: %s", self._spec.name, error)

    def clear_fault(self) -> None:
        """Take commands again; asks the robot for its automatic error recovery if it shows errors.

        Raises:
            NotConnectedError: before ``connect``.
            StoppedError: if the robot cannot move yet: its errors persist, it is guided, locked or user-stopped.
            ConnectionLostError: if the robot does not answer any more; ``disconnect`` and ``connect`` it.
        """
        self._require_connection()
        with contextlib.suppress(franky.ControlException):  # the error that ended the motion is what is cleared here
            if not self._robot.join_motion(REST_TIMEOUT):
                raise StoppedError(f"{self._spec.name} is still moving after {REST_TIMEOUT} s; look at the robot")
        state = self._read()
        if raised_flags(state.current_errors) or state.robot_mode == franky.RobotMode.Reflex:
            with contextlib.suppress(franky.CommandException):
                self._call("recover_from_errors")
            state = self._read()
        complaint = self._complaint(state)
        if complaint is not None:
            self._fault = complaint
            self._require_no_fault()
        self._fault, self._command = None, None

    def _motion(self, command: Array) -> Any:
        """The controller for one command, with its dead-man."""
        if self._spec.command_mode == "velocity":
            timeout = franky.Duration(round(self._command_timeout * 1e3))
            go = franky.JointVelocityWaypoint(command, hold_target_duration=timeout, max_total_duration=timeout)
            return franky.JointVelocityWaypointMotion([go, franky.JointVelocityWaypoint(np.zeros(7))])
        velocity = np.zeros(7)
        if self._command is not None:
            velocity = np.clip((command - self._command) * self._spec.control_rate, -VELOCITY, VELOCITY)
        position = np.array(self._read().q)
        reference = position + np.clip(command - position, -LEASH, LEASH)
        motion = franky.JointImpedanceMotion(reference, velocity, stiffness=STIFFNESS, damping=DAMPING)
        silent = self._command_timeout < franky.Measure.REL_TIME
        motion.add_reaction(franky.TorqueReaction(silent, franky.TorqueStopMotion()))
        return motion

    def _begin_stop(self) -> None:
        """Let the control thread bring the arm to rest, if it is in control."""
        if self._robot.is_in_control:
            torque = self._spec.command_mode == "position"
            stop = franky.TorqueStopMotion() if torque else franky.JointVelocityStopMotion()
            self._robot.move(stop, asynchronous=True)

    def _latch_end_of_control(self) -> None:
        """Find out why the control thread ended, latch it and raise."""
        try:
            self._robot.poll_motion()
            self._fault = (
                f"no command for more than {self._command_timeout * 1e3:.0f} ms: the arm was brought to rest. Send "
                f"at {self._spec.control_rate:g} Hz, or give a longer command_timeout"
            )
        except franky.NetworkException as error:
            raise self._disconnected(error) from error
        except (franky.ControlException, RuntimeError) as error:
            self._fault = self._complaint(self._read()) or str(error)
        self._require_no_fault()

    def _complaint(self, state: Any) -> str | None:
        """Why the robot cannot move, in our terms; None if it can."""
        flags = raised_flags(state.current_errors)
        if flags:
            return " ".join(explain(flag, state) for flag in flags)
        mode = state.robot_mode.name
        if mode in _MODES:
            return f"the robot cannot move: {_MODES[mode]}"
        return None

    def _read(self) -> Any:
        try:
            return self._robot.state
        except (franky.NetworkException, RuntimeError) as error:
            raise self._disconnected(error) from error

    def _call(self, method: str, *arguments: Any, **more: Any) -> Any:
        """Call franky; its errors are raised in our terms."""
        try:
            return getattr(self._robot, method)(*arguments, **more)
        except franky.NetworkException as error:
            raise self._disconnected(error) from error
        except (franky.ControlException, franky.CommandException, RuntimeError) as error:
            self._fault = self._complaint(self._read()) or str(error)
            raise StoppedError(self._refusal()) from error

    def _disconnected(self, error: Exception) -> ConnectionLostError:
        self._lost = True
        self._fault = (
            f"the connection to {self._host} is lost ({error}). Check the cable and the control box, then call "
            f"disconnect() and connect()"
        )
        return ConnectionLostError(f"{self._spec.name}: {self._fault}")

    def _check_age(self, robot_time: float, now: float) -> None:
        if robot_time != self._robot_time:
            self._robot_time, self._robot_time_seen = robot_time, now
        elif now - self._robot_time_seen > self._state_timeout:
            age = now - self._robot_time_seen
            self.stop(f"the robot's state is {age * 1e3:.0f} ms old, the limit is {self._state_timeout * 1e3:.0f} ms")
            raise StaleStateError(
                f"{self._spec.name}: {self._fault}. Check the cable to {self._host} and the load of this computer, "
                f"then call clear_fault()."
            )

    def _resting_command(self, position: Array) -> Array:
        return position.copy() if self._spec.command_mode == "position" else np.zeros(7)

    def _require_connection(self) -> None:
        if self._robot is None:
            raise NotConnectedError(f"{self._spec.name} is not connected; call connect() first")
        if self._lost:
            raise ConnectionLostError(f"{self._spec.name}: {self._fault}")

    def _require_no_fault(self) -> None:
        if self._fault is not None:
            raise StoppedError(self._refusal())

    def _refusal(self) -> str:
        return f"{self._spec.name} was stopped: {self._fault}. Remove the cause, then call clear_fault()."


_IGNORE = franky.RealtimeConfig.Ignore


def _open(host: str, realtime: Any) -> Any:
    """A connected ``franky.Robot``; libfranka itself would wait for a silent robot for ever."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def connect() -> None:
        try:
            answers.put(franky.Robot(host, realtime_config=realtime))
        except Exception as error:  # everything libfranka raises goes to the caller
            answers.put(error)

    threading.Thread(target=connect, name=f"connect {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_TIMEOUT)
    except queue.Empty:
        raise ConnectionLostError(
            f"the Franka robot at {host} accepts connections but has not answered for {CONNECT_TIMEOUT:g} s: end the "
            f"other program that drives it, then try again"
        ) from None
    if isinstance(answer, franky.RealtimeException):
        raise ConnectionLostError(
            f"the Franka robot at {host} needs a kernel with PREEMPT_RT ({answer}). Install one; for a simulator "
            f"set realtime: ignore"
        )
    if isinstance(answer, Exception):
        raise ConnectionLostError(
            f"no Franka robot answers at {host} ({answer}). Check the address and the cable, unlock the joints and "
            f"activate FCI in Desk"
        )
    return answer


def _check(spec: RobotSpec, command_timeout: float, state_timeout: float) -> None:
    if spec.action_size != len(JOINT_NAMES):
        raise ValueError(f"{spec.name}: an FR3 has {len(JOINT_NAMES)} joints, not {spec.action_size}")
    if spec.command_mode not in ("position", "velocity"):
        raise ValueError(f"{spec.name}: command_mode is {spec.command_mode!r}; a Franka takes position or velocity")
    shortest = 2.0 / spec.control_rate
    if not command_timeout >= shortest:
        raise ValueError(
            f"{spec.name}: a command_timeout of {command_timeout} s stops the arm between commands; at "
            f"{spec.control_rate:g} Hz it must be at least {shortest:g} s"
        )
    if not state_timeout > 0:
        raise ValueError(f"{spec.name}: a state_timeout of {state_timeout} s is not possible; it must be above 0")
