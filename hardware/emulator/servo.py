"""What emulated servos have in common: a shaft with an encoder, a motor, a control table and a supply."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from hardware.emulator.memory import ControlMemory
from hardware.emulator.motor import Motor, MotorModel
from hardware.wire.registers import ControlTable

BOOT_TIME = 0.3
"""How long a servo says and does nothing after a restart, s; ROBOTIS and Feetech give no figure."""

COUNT = 2 * math.pi / 4096
"""One count of the encoder, rad."""

ZERO = 2048
"""The count of an angle of 0."""


@dataclass(frozen=True)
class Mount:
    """How a servo is built into its joint.

    Attributes:
        sign: 1 if servo and joint turn the same way, -1 otherwise.
        gear: turns of the servo per turn of the joint.
        offset: the servo's angle where the joint's is 0, rad.
        share: of the joint's torque that this servo gives; below 1 where several servos move one joint.
        torque: the joint's full torque, N·m.
        stiffness: of the joint with factory gains, N·m/rad.
        damping: of the joint with factory gains, N·m·s/rad.
        drag: the joint's own damping, N·m·s/rad; it is the motor's back-EMF.
        delay: between a goal's arrival and its effect, s.
    """

    sign: float = 1.0
    gear: float = 1.0
    offset: float = 0.0
    share: float = 1.0
    torque: float = 2.94
    stiffness: float = 40.0
    damping: float = 1.6
    drag: float = 0.6
    delay: float = 0.0


class EmulatedServo(ABC):
    """One servo on a bus: a control table in front of a motor.

    Subclasses give the registers their maker's meaning.

    Attributes:
        memory: its control table.
        motor: its motor.
        mount: how it is built in.
        voltage: at its terminals, V.
        silent: whether it neither hears nor says anything (unplugged from the bus, still powered).
        eeprom_stuck: whether its EEPROM takes no more writes.
        encoder_shift: counts by which its encoder is off.

    Args:
        table: its control table.
        motor: its kind of motor.
        mount: how it is built in.
        time: now, s.
    """

    def __init__(self, table: ControlTable, motor: MotorModel, mount: Mount, time: float) -> None:
        self.memory = ControlMemory(table)
        self.motor = Motor(motor)
        self.mount = mount
        self.voltage = motor.supply
        self.silent = False
        self.eeprom_stuck = False
        self.encoder_shift = 0
        self._running_from = time
        self._time = time
        self._shaft = 0.0
        self._velocity = 0.0
        self._noise = 0.0
        self._registered: tuple[int, bytes] | None = None
        self._telemetry = self._make_telemetry()
        self.configure()

    @property
    def id(self) -> int:
        """Its address on the bus."""
        return self.memory["id"]

    @property
    def baudrate(self) -> int:
        """Bits per second that it listens at."""
        return self.memory.table.baud_rates.get(self.memory["baud_rate"], 0)

    @property
    def torque_on(self) -> bool:
        """Whether its motor is driven."""
        return self.motor.torque_on

    def hears(self, baudrate: int, time: float) -> bool:
        """Whether it understands a host that talks at a baud rate now."""
        return not self.silent and time >= self._running_from and baudrate == self.baudrate

    @property
    @abstractmethod
    def errors(self) -> int:
        """Its hardware error mask."""

    @abstractmethod
    def trip(self, error: int) -> None:
        """Report a hardware error as if its cause had been there, and do what its settings ask for."""

    @abstractmethod
    def count(self) -> int:
        """Where its shaft is, in counts as it reports them."""

    @abstractmethod
    def configure(self) -> None:
        """Do as the registers say from now on."""

    @abstractmethod
    def _protect(self, duration: float) -> None:
        """Look for hardware errors after a step of the physics."""

    @abstractmethod
    def _make_telemetry(self) -> dict[str, Callable[[], float]]:
        """What the registers that follow the motor show, in counts."""

    @abstractmethod
    def _started(self) -> None:
        """Finish a start: memory holds the start values, the shaft stands still."""

    def place(self, position: float) -> None:
        """Put the shaft where the joint's position, rad, wants it, and start as after power-up."""
        self._shaft = self._angle(position)
        self._start()

    def step(
        self, time: float, duration: float, position: float, velocity: float, voltage: float, noise: float
    ) -> float:
        """Act for one step of the physics.

        Args:
            time: of the step's start, s.
            duration: of the step, s.
            position: of the joint, rad.
            velocity: of the joint, rad/s.
            voltage: at the terminals, V.
            noise: error of the encoder, rad of the joint.

        Returns:
            Its torque on the joint, N·m.
        """
        mount = self.mount
        turn = mount.sign * mount.gear
        self._time = time
        self._shaft, self._velocity, self._noise = self._angle(position), turn * velocity, turn * noise
        self.voltage = voltage
        if voltage < self.motor.model.brown_out and time >= self._running_from:
            self.restart(time)
        if time < self._running_from:
            self.motor.step(time, duration, 0.0, 0.0, 0.0)
            return 0.0
        direction = self._direction()
        speed = mount.drag * velocity * mount.sign * direction / mount.torque
        output = self.motor.step(time, duration, (self.count() - ZERO) * COUNT, direction * self._velocity, speed)
        self._protect(duration)
        torque = direction * mount.sign * output * mount.torque * mount.share * voltage / self.motor.model.supply
        return torque if self.motor.torque_on else 0.0

    def restart(self, time: float) -> None:
        """Lose all that is not in EEPROM, and be away for BOOT_TIME."""
        self._running_from = time + BOOT_TIME
        self._start()

    def factory_reset(self, keep: tuple[str, ...], time: float) -> None:
        """Set all registers but some back to their factory counts, and restart."""
        self.memory.reset_to_factory(keep)
        self.restart(time)

    def _start(self) -> None:
        self.memory.power_up()
        self.motor.switch(False, 0.0)
        self.motor.drive.goal_output = 0.0
        self._registered = None
        self.configure()
        self._started()
        self.configure()

    def _refresh(self, address: int, length: int) -> None:
        """Bring the registers in a range up to date that follow the motor."""
        for register in self.memory.registers_in(address, length):
            if (show := self._telemetry.get(register.name)) is not None:
                self.memory[register.name] = min(max(round(show()), register.low), register.high)

    def _angle(self, position: float) -> float:
        return self.mount.sign * self.mount.gear * position + self.mount.offset

    def _raw_count(self) -> float:
        """Where the encoder says that the shaft is, in counts, as it is before homing and direction."""
        return ZERO + (self._shaft + self._noise) / COUNT + self.encoder_shift

    def _direction(self) -> float:
        """1 if counts grow with the shaft's angle, -1 if the registers turn that round."""
        return 1.0

    def _factory_gains(self) -> tuple[float, float]:
        """Output per rad and per rad/s of the servo with factory gains."""
        mount = self.mount
        return mount.stiffness / mount.torque / mount.gear, mount.damping / mount.torque / mount.gear
