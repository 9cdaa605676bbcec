"""An arm of bus servos, driven by position targets."""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

from hardware.calibration import load_calibration
from hardware.clock import Clock, MonotonicClock
from hardware.errors import (
    BusError,
    CommandRefusedError,
    ConnectionLostError,
    NotConnectedError,
    RobotError,
    ServoFaultError,
    ServoSetupError,
    StoppedError,
)
from hardware.robot import Array, Observation, RobotSpec, SentAction
from hardware.robot_file import Points, RobotDescription
from hardware.serial_bus import SerialBus
from hardware.serial_port import Port
from hardware.servo_bus import Counters
from hardware.servo_readings import REMEDY, ServoReadings, hardware_error
from hardware.servo_setup import ServoSetup, open_bus

logger = logging.getLogger(__name__)

START_TOLERANCE = 0.05
"""How far outside its servo's position limits a joint may stand when the torque comes on, rad."""

PARKED_TOLERANCE = 0.15
"""How far from the park pose a joint may stand for the arm to count as parked, rad."""

_RECENT_PERIODS = 2.5
_FEEDS_WATCHDOG = 0.8
_ROUNDING = 1e-9


class ServoArm:
    """An arm on a servo bus.

    Observations hold, per joint (nu,): ``joint_position`` rad, ``joint_velocity`` rad/s, ``command`` rad (the one in
    force), ``effort`` (A where the servo measures current, otherwise the share of its full torque), ``temperature`` °C
    and ``voltage`` V; and the named points, (3,) m. Their sources are "motion", read each time, and "health", read at a
    low rate.

    While a servo reports an error, has lost its torque or has jumped, ``get_observation`` raises, until the arm is
    stopped; from then on observations are for looking at what is wrong.

    Args:
        description: the arm.
        port: where it is, or an open line, instead of what the description says.
        clock: stamps what happens, and is what deadlines are on.
        points: gives named points from joint positions.
    """

    def __init__(
        self,
        description: RobotDescription,
        port: str | Port | None = None,
        clock: Clock | None = None,
        *,
        points: Points | None = None,
    ) -> None:
        self._description, self._port, self._points = description, port, points
        self._clock: Clock = clock or MonotonicClock()
        self._patience = description.patience
        self._spec = description.spec
        self._low, self._high = self._spec.command_limits
        self._servos = tuple(joint.servo_ids[0] for joint in description.joints)
        self._turn = np.array([joint.servo_angle(1.0) for joint in description.joints])
        self._lock = threading.RLock()
        self._bus: SerialBus | None = None
        self._lost: str | None = None
        self._fault: str | None = None

    @property
    def spec(self) -> RobotSpec:
        """The robot's description; readable while disconnected."""
        return self._spec

    @property
    def is_connected(self) -> bool:
        """Whether the robot can be read and commanded."""
        return self._bus is not None

    @property
    def fault(self) -> str | None:
        """Why no command is taken; None while all is well."""
        return self._fault

    @property
    def counters(self) -> Counters:
        """What happened on the line since ``connect``."""
        return self._require_bus().counters

    def connect(self) -> None:
        """Find, check and set up the servos, and switch their torque on where they stand; harmless when connected.

        A hardware error that a servo shows is latched. While a fault is latched, also one from before, the torque
        stays as it is until ``clear_fault``.

        Raises:
            PortError: if the port cannot be opened, or another program holds it.
            BusError: if a servo does not answer.
            ServoSetupError: if a servo is not as the robot's file says, or stands outside its limits.
            CalibrationError: if the calibration is missing, or not that of these servos.
        """
        with self._lock:
            if self._bus is not None:
                return
            path = self._description.calibration_path
            calibration = None if path is None else load_calibration(path)
            if calibration is None:
                logger.warning(
                    "%s has no calibration: its servos' own zero is taken for the joints'. On a physical arm run "
                    "'robot-ctrl calibrate' first",
                    self._spec.name,
                )
            else:
                calibration.check_description(self._description)
            bus = open_bus(self._description, self._port, self._clock, self._patience)
            try:
                setup = ServoSetup(self._description, bus)
                setup.identify()
                setup.apply(calibration)
                self._take(bus, setup)
                errors = self._hardware_errors(bus)
                if errors:
                    self._fault = f"{'; '.join(errors)}: {REMEDY}"
                    logger.error("%s: %s", self._spec.name, self._fault)
                if self._fault is None:
                    setup.check_supply()
                    self._switch_on(bus)
                else:
                    self._readings.read()
                    self._command = self._previous = self._readings.position
            except BaseException:
                bus.close()
                raise
            self._bus, self._lost = bus, None

    def disconnect(self) -> None:
        """Apply the stated torque policy and give the port back; harmless when disconnected.

        Raises:
            ServoFaultError: naming the servos whose torque may still be on; the port is closed all the same.
        """
        with self._lock:
            bus, self._bus = self._bus, None
            if bus is None:
                return
            failures = []
            try:
                failures = self._release(bus) if self._should_release() else self._leave_on(bus)
            except ConnectionLostError as error:
                failures = [str(error)]
            finally:
                bus.close()
            if failures:
                raise ServoFaultError(
                    f"{self._spec.name} was not left as its file says: {'; '.join(failures)}. Cut the power before "
                    f"you reach into the arm"
                )

    def get_observation(self) -> Observation:
        """Read the robot.

        Raises:
            NotConnectedError: before ``connect``.
            ConnectionLostError: if the port is gone.
            BusError: if a servo does not answer: an old value is no value.
            ServoFaultError: if a servo reports an error or cannot be trusted, and the arm has not been stopped.
        """
        with self._lock, self._connection():
            readings = self._readings
            readings.read()
            self._last_exchange = self._clock.now()
            if self._fault is None and (problems := readings.problems()):
                raise ServoFaultError(f"{self._spec.name}: {'; '.join(problems)}: {REMEDY}")
            values = {
                "joint_position": readings.position,
                "joint_velocity": readings.velocity,
                "command": self._command.copy(),
                "effort": readings.effort,
                "temperature": readings.temperature.copy(),
                "voltage": readings.voltage.copy(),
            }
            if self._points is not None:
                values.update(self._points(readings.position))
            sequence = self._sequence
            self._sequence += 1
            return Observation(sequence, values, {}, dict(readings.read_start), dict(readings.read_end))

    def send_action(self, action: Array) -> SentAction:
        """Send one command, (nu,) rad.

        Raises:
            NotConnectedError: before ``connect``.
            StoppedError: while a fault is latched.
            CommandRefusedError: if the command is not finite, has the wrong shape, or leads out of the limits.
            ConnectionLostError: if the port is gone.
            ServoFaultError: if the servos' bus watchdog has tripped.
        """
        with self._lock, self._connection() as bus:
            if self._fault is not None:
                raise StoppedError(f"{self._spec.name} was stopped: {self._fault}")
            command = self._checked(action)
            self._check_watchdog()
            time = self._clock.now()
            self._send(bus, command, time)
            return SentAction(command.copy(), command.copy(), (), time)

    def stop(self, reason: str) -> None:
        """A software stop: brake the command in force to rest, hold there, and latch.

        Brakes at the joints' acceleration limits from the rate of the last two commands, so it needs no reading, no
        plan and no model. Where the safe policy is to cut the torque, that follows. Never raises a RobotError: what
        fails is logged, and the rest is still tried.
        """
        with self._lock:
            if self._fault is None:
                logger.warning("%s stopped: %s", self._spec.name, reason)
                self._fault = reason
            if self._bus is None:
                return
            try:
                with self._connection() as bus:
                    self._brake(bus)
                    if self._description.safe_policy == "torque_off":
                        for failure in self._release(bus):
                            logger.error("%s: %s", self._spec.name, failure)
            except RobotError as error:
                logger.error("%s: while stopping: %s", self._spec.name, error)

    def clear_fault(self) -> None:
        """Have the servos forget errors whose cause has gone, and switch the torque on where the arm stands.

        Raises:
            NotConnectedError: before ``connect``.
            BusError: if a servo does not answer.
            StoppedError: while a servo's error persists, it is too hot, its supply is wrong, or it stands outside its
                limits.
        """
        with self._lock, self._connection() as bus:
            if self._fault is None:
                return
            for servo in self._in_error(bus):
                bus.recover(servo)
            errors = self._hardware_errors(bus)
            if errors:
                raise StoppedError(f"{self._spec.name} stays stopped: {'; '.join(errors)}: {REMEDY}")
            try:
                self._setup.check_supply()
                for joint in self._description.joints:
                    for servo in joint.servo_ids:
                        self._setup.set_ram(joint, servo)
                self._switch_on(bus)
            except ServoSetupError as error:
                raise StoppedError(f"{self._spec.name} stays stopped: {error}") from error
            self._fault = None

    def _take(self, bus: SerialBus, setup: ServoSetup) -> None:
        """Begin with servos that are set up, and nothing known of them yet."""
        self._setup = setup
        self._readings = ServoReadings(self._description, bus, self._clock)
        self._sequence = 0
        self._command = self._previous = np.zeros(self._spec.action_size)
        self._command_time = self._previous_time = self._last_exchange = self._clock.now()
        ends = [[bus.read(servo, f"{end}_position_limit") for end in ("min", "max")] for servo in self._servos]
        self._lowest_angle, self._highest_angle = np.array(ends).T

    def _switch_on(self, bus: SerialBus) -> None:
        """Make where the arm stands its goal, then switch the torque on, so that nothing jumps.

        If that fails half way, the servos that it switched on are switched off again.
        """
        readings = self._readings
        readings.trust_again()
        readings.expects_torque = False
        readings.read()
        self._check_stance(readings)
        angles = np.clip(readings.angles, self._lowest_angle, self._highest_angle)
        now = self._clock.now()
        self._send(bus, angles / self._turn, now)
        self._previous, self._previous_time = self._command, now
        switched = []
        try:
            for servo in bus.tables:
                if not bus.read_count(servo, "torque_enable"):
                    switched.append(servo)
                    bus.write_count(servo, "torque_enable", 1)
            self._setup.guard()
        except BaseException:
            self._release(bus, switched)
            raise
        self._last_exchange = self._clock.now()
        readings.expects_torque = True

    def _check_stance(self, readings: ServoReadings) -> None:
        """Refuse to hold a joint that stands where its servo takes no goal."""
        tolerance = START_TOLERANCE * np.abs(self._turn)
        for index, joint in enumerate(self._description.joints):
            angle, low, high = readings.angles[index], self._lowest_angle[index], self._highest_angle[index]
            if not low - tolerance[index] <= angle <= high + tolerance[index]:
                ends = sorted((low / self._turn[index], high / self._turn[index]))
                raise ServoSetupError(
                    f"{joint.name} stands at {angle / self._turn[index]:.3f} rad; its servo goes from {ends[0]:.3f} to "
                    f"{ends[1]:.3f} rad: move it inside by hand, or calibrate again"
                )

    def _send(self, bus: SerialBus, command: Array, time: float) -> None:
        angles = np.clip(command * self._turn, self._lowest_angle, self._highest_angle)
        bus.sync_write("goal_position", dict(zip(self._servos, angles.tolist(), strict=True)))
        self._previous, self._previous_time = self._command, self._command_time
        self._command, self._command_time = command, time
        self._last_exchange = time

    def _checked(self, action: Array) -> Array:
        """The command, if it may go to the servos."""
        command = np.array(action, dtype=np.float64)
        if command.shape != (self._spec.action_size,) or not np.isfinite(command).all():
            raise CommandRefusedError(
                f"{self._spec.name} takes {self._spec.action_size} finite numbers, not {action!r}; send commands "
                f"through a SafetyFilter"
            )
        low, high = np.minimum(self._low, self._command), np.maximum(self._high, self._command)
        outside = (command < low - _ROUNDING) | (command > high + _ROUNDING)
        if outside.any():
            index = int(np.flatnonzero(outside)[0])
            raise CommandRefusedError(
                f"{self._spec.name}: {self._spec.joints[index].name} is sent to {command[index]:.4g} rad; its limits "
                f"are [{self._low[index]:g}, {self._high[index]:g}]: send commands through a SafetyFilter"
            )
        return command

    def _check_watchdog(self) -> None:
        """After a pause in which the servos may have given up waiting, ask them: they would ignore the command."""
        limit = self._description.bus_watchdog
        pause = self._clock.now() - self._last_exchange
        if limit is None or pause < _FEEDS_WATCHDOG * limit:
            return
        self._readings.check_watchdog()
        if problems := self._readings.problems():
            raise ServoFaultError(
                f"{self._spec.name} heard nothing for {pause:.3f} s: {'; '.join(problems)}. "
                f"Find what held the program up"
            )

    def _brake(self, bus: SerialBus) -> None:
        """Bring the command to rest at the acceleration limits, one step per control period."""
        period = 1.0 / self._spec.control_rate
        start, began = self._command, self._clock.now()
        velocity = self._command_velocity(began)
        limits = np.array([joint.limits.acceleration for joint in self._description.joints])
        for step in range(1, int(np.ceil(np.max(np.abs(velocity) / limits) / period)) + 1):
            self._clock.sleep_until(began + step * period)
            time = np.minimum(step * period, np.abs(velocity) / limits)
            braked = start + velocity * time - 0.5 * np.sign(velocity) * limits * time**2
            low, high = np.minimum(self._low, start), np.maximum(self._high, start)
            self._send(bus, np.clip(braked, low, high), self._clock.now())

    def _command_velocity(self, now: float) -> Array:
        """(nu,) how fast the command moves, within the joints' limits; zero once it has stood for a while."""
        recent = _RECENT_PERIODS / self._spec.control_rate
        interval = self._command_time - self._previous_time
        if not (0 < interval < recent and now - self._command_time < recent):
            return np.zeros(self._spec.action_size)
        limits = np.array([joint.limits.velocity for joint in self._description.joints])
        return np.clip((self._command - self._previous) / interval, -limits, limits)

    def _should_release(self) -> bool:
        policy = self._description.torque_at_disconnect
        if policy != "release_when_parked":
            return policy == "release"
        with suppress(BusError):
            self._readings.read()
        away = np.abs(self._readings.position - np.array(self._description.park_pose))
        parked = bool(away.max() <= PARKED_TOLERANCE)
        if not parked:
            logger.warning(
                "%s: %s is %.2f rad from the park pose; the torque stays on so that the arm does not fall",
                self._spec.name,
                self._spec.joints[int(away.argmax())].name,
                away.max(),
            )
        return parked

    def _release(self, bus: SerialBus, servos: Iterable[int] | None = None) -> list[str]:
        """Switch torque off on every servo, whatever the others do; what failed, for people."""
        self._readings.expects_torque = False
        return _set_to_zero(bus, "torque_enable", bus.tables if servos is None else servos)

    def _leave_on(self, bus: SerialBus) -> list[str]:
        """Let the servos hold on without us: no watchdog may stop them."""
        if self._description.bus_watchdog is None:
            return []
        return _set_to_zero(bus, "bus_watchdog", bus.tables)

    def _in_error(self, bus: SerialBus) -> list[int]:
        """The servos that report a hardware error now."""
        for servo in bus.tables:
            bus.errors[servo] = bus.read_count(servo, "hardware_error_status")
        return [servo for servo, mask in bus.errors.items() if mask]

    def _hardware_errors(self, bus: SerialBus) -> list[str]:
        return [hardware_error(bus, servo) for servo in self._in_error(bus)]

    @contextmanager
    def _connection(self) -> Iterator[SerialBus]:
        """The bus while it lasts: a lost port ends the connection."""
        bus = self._require_bus()
        try:
            yield bus
        except ConnectionLostError as error:
            self._bus, self._lost = None, str(error)
            bus.close()
            raise

    def _require_bus(self) -> SerialBus:
        if self._bus is None:
            if self._lost is not None:
                raise ConnectionLostError(f"{self._spec.name}: {self._lost}")
            raise NotConnectedError(f"{self._spec.name} is not connected; call connect() first")
        return self._bus


def release(description: RobotDescription, port: str | Port | None = None, clock: Clock | None = None) -> list[str]:
    """Switch the torque of an arm's servos off, without connecting: for when some servo does not let us.

    Args:
        description: the arm.
        port: where it is, or an open line, instead of what the description says.
        clock: what deadlines are on.

    Returns:
        What failed, for people; every servo was tried.

    Raises:
        PortError: if the port cannot be opened, or another program holds it.
    """
    bus = open_bus(description, port, clock)
    try:
        return _set_to_zero(bus, "torque_enable", bus.tables)
    finally:
        bus.close()


def _set_to_zero(bus: SerialBus, register: str, servos: Iterable[int]) -> list[str]:
    """Set a register of each servo to 0, whatever happens with the others; what failed, for people."""
    failures = []
    for servo in servos:
        try:
            bus.write_count(servo, register, 0)
        except RobotError as error:
            failures.append(f"{register} of {bus.describe(servo)} could not be set to 0 ({error})")
    return failures
