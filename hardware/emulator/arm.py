"""A whole emulated arm on times that are passed in: plant, servos, wire, faults."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.emulator import dynamixel_servo
from hardware.emulator.dynamixel_line import DynamixelLine
from hardware.emulator.dynamixel_servo import DynamixelServo
from hardware.emulator.faults import Fault
from hardware.emulator.feetech_line import FeetechLine
from hardware.emulator.feetech_servo import FeetechServo
from hardware.emulator.injection import FaultInjector
from hardware.emulator.motor import MOTORS
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.emulator.places import AnyServo, ServoPlace
from hardware.emulator.plant import Plant
from hardware.emulator.servo import Mount
from hardware.emulator.wire import Wire
from hardware.wire.tables import control_table


@dataclass(frozen=True)
class ArmStatus:
    """The truth about an emulated arm, which its bus may hide.

    Attributes:
        time: s on the clock.
        joints: names, in the order of the arrays.
        position: (nu,) rad.
        velocity: (nu,) rad/s.
        torque_on: by joint.
        output: by joint, fraction of full torque.
        temperature: by joint, °C.
        voltage: by joint, V.
        errors: by joint, the hardware error mask.
        faults: names of those in force.
        requests: instruction packets heard so far.
        replies: status packets sent so far.
        collisions: times at which two talked at once so far.
    """

    time: float
    joints: tuple[str, ...]
    position: tuple[float, ...]
    velocity: tuple[float, ...]
    torque_on: tuple[bool, ...]
    output: tuple[float, ...]
    temperature: tuple[float, ...]
    voltage: tuple[float, ...]
    errors: tuple[int, ...]
    faults: tuple[str, ...]
    requests: int
    replies: int
    collisions: int


class EmulatedArm:
    """An arm behind its wire protocol, advanced by hand.

    Attributes:
        plant: its body.
        wire: its bus.
        faults: what is wrong with it.

    Args:
        model: the MJCF file of its body.
        places: its servos.
        plant: how its physics differ from the file.
        wire: its adapter.
        baudrate: bits per second that its servos are set to.
        start: joint positions at the start, rad.
        time: now, s.
        seed: of noise and garbage.

    Raises:
        ValueError: if the file, a joint or a servo's model does not exist, or the protocols are mixed.
    """

    def __init__(
        self,
        model: Path,
        places: Sequence[ServoPlace],
        *,
        plant: PlantOptions | None = None,
        wire: WireOptions | None = None,
        baudrate: int = 1_000_000,
        start: Mapping[str, float] | None = None,
        time: float = 0.0,
        seed: int = 0,
    ) -> None:
        options = plant or PlantOptions()
        self.joints = tuple(dict.fromkeys(place.joint for place in places))
        self.plant = Plant(model, self.joints, options, time=time, seed=seed)
        self._places = tuple(places)
        self._servos = [self._make_servo(place, baudrate, time) for place in places]
        self.plant.attach(
            [(place.joint, servo) for place, servo in zip(places, self._servos, strict=True)],
            {**(start or {}), **options.start},
        )
        self.wire = Wire(_line(self._servos), wire or WireOptions(), np.random.default_rng(seed + 1))
        self.wire.baudrate = baudrate
        self.faults = FaultInjector(
            self.plant, self.wire, dict(zip(self._places, self._servos, strict=True)), self._make_servo
        )

    @property
    def time(self) -> float:
        """Up to when everything has happened, s."""
        return self.plant.time

    def servo(self, joint: str) -> AnyServo:
        """The servo of a joint.

        Raises:
            ValueError: if there is no such joint.
        """
        return self.faults.servo(joint)

    def write(self, data: bytes, now: float) -> None:
        """The host sends bytes."""
        self.advance(now)
        if not self.faults.cut:
            self.wire.write(data, now)

    def read(self, now: float) -> bytes:
        """The bytes that have reached the host by now and were not read yet."""
        self.advance(now)
        return b"" if self.faults.cut else self.wire.deliver(now)

    def next_event(self) -> float:
        """When something happens next that the host can notice; infinite if nothing is under way."""
        return min(self.wire.next_request(), self.wire.next_delivery(), self.faults.next_event())

    def advance(self, now: float) -> None:
        """Let everything happen up to now, in order."""
        while True:
            request, fault = self.wire.next_request(), self.faults.next_event()
            if min(request, fault) > now:
                break
            self.plant.advance(min(request, fault))
            if fault <= request:
                self.faults.happen()
            else:
                self.wire.answer()
        self.plant.advance(now)

    def skip(self, now: float) -> None:
        """Leave out the physics up to now, for a clock that cannot be followed."""
        self.plant.time = max(self.plant.time, now)

    def inject(self, fault: Fault, now: float) -> None:
        """Let a fault happen, at its own time from now on.

        Raises:
            ValueError: if its joint does not exist, or its servo cannot have it.
        """
        self.faults.plan(fault, now)
        self.advance(now)

    def clear(self, name: str, now: float) -> None:
        """End all faults of a name, also those that have not begun.

        Raises:
            ValueError: if there is none.
        """
        self.advance(now)
        self.faults.clear(name, now)

    def move(self, joint_and_position: tuple[str, float], now: float) -> None:
        """A hand moves a joint, slowly, to a position, rad, and holds it there.

        Raises:
            ValueError: if there is no such joint, or the position is not finite.
        """
        self.advance(now)
        self.plant.move(*joint_and_position)

    def let_go(self, now: float) -> None:
        """The hand lets go of every joint."""
        self.advance(now)
        self.plant.let_go()

    def status(self, now: float) -> ArmStatus:
        """The truth about the arm."""
        self.advance(now)
        servos = [self.servo(joint) for joint in self.joints]
        return ArmStatus(
            time=now,
            joints=self.joints,
            position=tuple(self.plant.positions.tolist()),
            velocity=tuple(self.plant.velocities.tolist()),
            torque_on=tuple(servo.torque_on for servo in servos),
            output=tuple(servo.motor.output for servo in servos),
            temperature=tuple(servo.motor.temperature for servo in servos),
            voltage=tuple(servo.voltage for servo in servos),
            errors=tuple(servo.errors for servo in servos),
            faults=tuple(self.faults.in_force(now)),
            requests=self.wire.requests,
            replies=self.wire.replies,
            collisions=self.wire.collisions,
        )

    def _make_servo(self, place: ServoPlace, baudrate: int, time: float) -> AnyServo:
        table = control_table(place.model)
        motor = MOTORS[table.name]
        index = self.joints.index(place.joint)
        share = 1.0 / sum(other.joint == place.joint for other in self._places)
        torque, stiffness, damping = (
            float(values[index]) for values in (self.plant.torque, self.plant.stiffness, self.plant.damping)
        )
        full = motor.stall_torque * place.gear / share
        options = self.plant.options
        mount = Mount(
            sign=place.sign,
            gear=place.gear,
            offset=options.mounting.get(place.joint, 0.0),
            share=share,
            torque=torque if math.isfinite(torque) else full,
            stiffness=stiffness if math.isfinite(stiffness) else 10.0 * full,
            damping=damping if math.isfinite(damping) else 0.4 * full,
            drag=float(self.plant.drag[index]),
            delay=options.delay,
        )
        kind = DynamixelServo if table.protocol == "dynamixel" else FeetechServo
        servo = kind(table, motor, mount, time)
        codes = [code for code, rate in table.baud_rates.items() if rate == baudrate]
        if not codes:
            raise ValueError(
                f"{place.joint}: an {table.name} cannot talk at {baudrate} baud; it can at "
                f"{', '.join(str(rate) for rate in table.baud_rates.values())}"
            )
        set_up = {"id": place.id, "baud_rate": codes[0]}
        if place.shadows is not None:
            set_up["secondary_id"] = place.shadows
        if place.reverse:
            set_up["drive_mode"] = dynamixel_servo.REVERSE
        for name, count in set_up.items():
            servo.memory[name] = count
            servo.memory.store(name)
        return servo


def _line(servos: Sequence[AnyServo]) -> DynamixelLine | FeetechLine:
    ours = [servo for servo in servos if isinstance(servo, DynamixelServo)]
    others = [servo for servo in servos if isinstance(servo, FeetechServo)]
    if ours and others:
        raise ValueError("Dynamixel and Feetech servos cannot share a bus")
    return DynamixelLine(ours) if ours else FeetechLine(others)
