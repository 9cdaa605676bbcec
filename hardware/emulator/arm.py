"""A whole emulated arm on times that are passed in: plant, servos, wire, faults."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.emulator import dynamixel_servo, feetech_servo
from hardware.emulator.dynamixel_servo import DynamixelLine, DynamixelServo
from hardware.emulator.faults import FRAME_FAULTS, PORT_FAULTS, Fault
from hardware.emulator.feetech_servo import FeetechLine, FeetechServo
from hardware.emulator.motor import MOTORS
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.emulator.plant import Plant
from hardware.emulator.servo import Mount
from hardware.emulator.wire import Wire
from hardware.names import unknown
from hardware.wire.tables import control_table

_BROWN_OUT = 0.3
_LATENCY = 0.016
_TOO_HOT = 5.0
_SHIFT = 100
_TURN = 4096
_OTHER_MODEL = 1284
_BELOW_LIMIT = 0.3


@dataclass(frozen=True)
class ServoPlace:
    """One servo of an arm.

    Attributes:
        joint: the joint that it moves.
        id: its address on the bus.
        model: its control table.
        sign: 1 if it turns the same way as the joint, -1 otherwise.
        gear: its turns per turn of the joint.
        reverse: whether its drive mode is set to turn its direction round (Dynamixel).
        shadows: the identifier of the servo that it follows; None for the joint's own servo.
    """

    joint: str
    id: int
    model: str
    sign: float = 1.0
    gear: float = 1.0
    reverse: bool = False
    shadows: int | None = None


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
        cut: whether the port is gone.
        renamed: whether it comes back under another name.
        busy: whether another program holds the port.
        forbidden: whether the user may not open the port.

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
        self.cut = self.renamed = self.busy = self.forbidden = False
        self._places = tuple(places)
        self._servos = [self._make_servo(place, baudrate, time) for place in places]
        self._ghosts: dict[str, DynamixelServo | FeetechServo] = {}
        self.plant.attach(
            [(place.joint, servo) for place, servo in zip(places, self._servos, strict=True)],
            {**(start or {}), **options.start},
        )
        self.wire = Wire(_line(self._servos), wire or WireOptions(), np.random.default_rng(seed + 1))
        self.wire.baudrate = baudrate
        self._latency = self.wire.latency
        self._coming: list[tuple[float, int, Fault, bool]] = []
        self._count = 0
        self._active: dict[tuple[str, str | None], Fault] = {}

    @property
    def time(self) -> float:
        """Up to when everything has happened, s."""
        return self.plant.time

    def servo(self, joint: str) -> DynamixelServo | FeetechServo:
        """The servo of a joint.

        Raises:
            ValueError: if there is no such joint.
        """
        for place, servo in zip(self._places, self._servos, strict=True):
            if place.joint == joint and place.shadows is None:
                return servo
        raise ValueError(unknown("joint", joint, self.joints))

    def write(self, data: bytes, now: float) -> None:
        """The host sends bytes."""
        self.advance(now)
        if not self.cut:
            self.wire.write(data, now)

    def read(self, now: float) -> bytes:
        """The bytes that have reached the host by now and were not read yet."""
        self.advance(now)
        return b"" if self.cut else self.wire.deliver(now)

    def next_event(self) -> float:
        """When something happens next that the host can notice; infinite if nothing is under way."""
        coming = self._coming[0][0] if self._coming else math.inf
        return min(self.wire.next_request(), self.wire.next_delivery(), coming)

    def advance(self, now: float) -> None:
        """Let everything happen up to now, in order."""
        while True:
            request = self.wire.next_request()
            fault = self._coming[0][0] if self._coming else math.inf
            if min(request, fault) > now:
                break
            if fault <= request:
                self.plant.advance(fault)
                time, _, what, begins = heapq.heappop(self._coming)
                self._begin(what, time) if begins else self._end(what)
            else:
                self.plant.advance(request)
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
        if fault.joint is not None:
            servo = self.servo(fault.joint)
            if fault.name == "watchdog-tripped" and not isinstance(servo, DynamixelServo):
                raise ValueError(f"the servo of {fault.joint} has no bus watchdog; only Dynamixel servos have one")
        self._schedule(fault, now + fault.start, begins=True)
        self.advance(now)

    def clear(self, name: str, now: float) -> None:
        """End all faults of a name, also those that have not begun.

        Raises:
            ValueError: if there is none.
        """
        self.advance(now)
        found = [fault for fault in self._active.values() if fault.name == name]
        coming = [event for event in self._coming if event[2].name == name]
        if not found and not coming and name not in self.wire.spoiling(now):
            raise ValueError(unknown("fault in force", name, self.faults(now)))
        self._coming = [event for event in self._coming if event[2].name != name]
        heapq.heapify(self._coming)
        self.wire.leave(name)
        for fault in found:
            self._end(fault)

    def faults(self, now: float) -> list[str]:
        """The names of the faults in force, with their joints."""
        states = [
            fault.name if fault.joint is None else f"{fault.name}:{fault.joint}" for fault in self._active.values()
        ]
        return states + self.wire.spoiling(now)

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
            faults=tuple(self.faults(now)),
            requests=self.wire.requests,
            replies=self.wire.replies,
            collisions=self.wire.collisions,
        )

    def _make_servo(self, place: ServoPlace, baudrate: int, time: float) -> DynamixelServo | FeetechServo:
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

    def _schedule(self, fault: Fault, time: float, *, begins: bool) -> None:
        self._count += 1
        heapq.heappush(self._coming, (time, self._count, fault, begins))

    def _begin(self, fault: Fault, time: float) -> None:
        until = None if fault.lasts is None else time + fault.lasts
        if fault.name in FRAME_FAULTS:
            self.wire.spoil(fault.name, until)
            return
        if fault.joint is not None and self._happen(fault, self.servo(fault.joint)):
            return
        self._active[fault.name, fault.joint] = fault
        self._set(fault, True, time)
        if until is not None:
            self._schedule(fault, until, begins=False)

    def _end(self, fault: Fault) -> None:
        if self._active.pop((fault.name, fault.joint), None) is not None:
            self._set(fault, False, self.time)

    def _happen(self, fault: Fault, servo: DynamixelServo | FeetechServo) -> bool:
        """Faults of one instant; whether this is one."""
        if fault.name == "overload":
            servo.trip(dynamixel_servo.OVERLOAD if isinstance(servo, DynamixelServo) else feetech_servo.OVERLOAD)
        elif fault.name == "overheating":
            servo.motor.temperature = servo.memory.value("temperature_limit") + _TOO_HOT
        elif fault.name == "encoder-error":
            servo.trip(dynamixel_servo.ENCODER if isinstance(servo, DynamixelServo) else feetech_servo.SENSOR)
        elif fault.name == "encoder-wrap":
            servo.encoder_shift += _TURN
        elif fault.name == "watchdog-tripped" and isinstance(servo, DynamixelServo):
            servo.expire_watchdog()
        elif fault.name == "changed-eeprom":
            servo.memory["homing_offset"] += _SHIFT
            servo.memory.store("homing_offset")
            servo.configure()
        else:
            return False
        return True

    def _set(self, fault: Fault, on: bool, time: float) -> None:
        """Faults that last: begin or end one."""
        if fault.name == "port-busy":
            self.busy = on
        elif fault.name == "permission-denied":
            self.forbidden = on
        elif fault.name in PORT_FAULTS:
            self.cut, self.renamed = on, fault.name == "port-renamed"
            self.wire.drop()
        elif fault.name == "echo":
            self.wire.echo = on
        elif fault.name == "latency-16ms":
            self.wire.latency = _LATENCY if on else self._latency
        elif fault.name == "brown-out":
            self.plant.supply_factor = _BROWN_OUT if on else 1.0
        elif fault.name == "low-voltage":
            self.plant.supply_factor = self._low_supply() if on else 1.0
        elif fault.joint is not None:
            self._set_servo(fault, fault.joint, on, time)

    def _set_servo(self, fault: Fault, joint: str, on: bool, time: float) -> None:
        servo = self.servo(joint)
        if fault.name == "stuck-joint":
            self.plant.block(joint, on)
        elif fault.name == "missing-id":
            servo.silent = on
        elif fault.name == "locked-eeprom":
            servo.eeprom_stuck = on
        elif fault.name == "wrong-model":
            servo.memory["model_number"] = _OTHER_MODEL if on else servo.memory.table.model_number
        elif on:
            place = next(place for place in self._places if place.joint == joint)
            ghost = self._make_servo(place, self.wire.baudrate, time)
            ghost.place(0.0)
            self._ghosts[joint] = ghost
            self.wire.line.servos.append(ghost)
        else:
            self.wire.line.servos.remove(self._ghosts.pop(joint))

    def _low_supply(self) -> float:
        """The fraction of the supply at which the first servo's voltage is below its limit."""
        nominal = self.plant.options.supply
        return max(
            (servo.memory.value("min_voltage_limit") - _BELOW_LIMIT) / (nominal or servo.motor.model.supply)
            for servo in self._servos
        )


def _line(servos: Sequence[DynamixelServo | FeetechServo]) -> DynamixelLine | FeetechLine:
    ours = [servo for servo in servos if isinstance(servo, DynamixelServo)]
    others = [servo for servo in servos if isinstance(servo, FeetechServo)]
    if ours and others:
        raise ValueError("Dynamixel and Feetech servos cannot share a bus")
    return DynamixelLine(ours) if ours else FeetechLine(others)
