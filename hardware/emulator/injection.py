"""Makes faults happen to an emulated arm, at their time."""

import heapq
import math
from collections.abc import Callable, Mapping

from hardware.emulator import dynamixel_servo, feetech_servo
from hardware.emulator.dynamixel_servo import DynamixelServo
from hardware.emulator.faults import FRAME_FAULTS, Fault
from hardware.emulator.places import AnyServo, ServoPlace
from hardware.emulator.plant import Plant
from hardware.emulator.wire import Wire
from hardware.names import unknown

_BROWN_OUT = 0.3
_LATENCY = 0.016
_TOO_HOT = 5.0
_SHIFT = 100
_TURN = 4096
_OTHER_MODEL = 1284
_BELOW_LIMIT = 0.3


class FaultInjector:
    """The faults of one arm: those that come, and those in force.

    Attributes:
        cut: whether the port is gone.
        renamed: whether it comes back under another name.
        busy: whether another program holds the port.
        forbidden: whether the user may not open the port.

    Args:
        plant: the arm's body.
        wire: its bus.
        servos: its servos by their place.
        make_servo: makes one more servo for a place, from baud rate and time.
    """

    def __init__(
        self,
        plant: Plant,
        wire: Wire,
        servos: Mapping[ServoPlace, AnyServo],
        make_servo: Callable[[ServoPlace, int, float], AnyServo],
    ) -> None:
        self.cut = self.renamed = self.busy = self.forbidden = False
        self._plant, self._wire, self._servos, self._make_servo = plant, wire, servos, make_servo
        self._latency = wire.latency
        self._ghosts: dict[str, AnyServo] = {}
        self._coming: list[tuple[float, int, Fault, bool]] = []
        self._count = 0
        self._active: dict[tuple[str, str | None], Fault] = {}

    def servo(self, joint: str) -> AnyServo:
        """The servo of a joint.

        Raises:
            ValueError: if there is no such joint.
        """
        for place, servo in self._servos.items():
            if place.joint == joint and place.shadows is None:
                return servo
        raise ValueError(unknown("joint", joint, dict.fromkeys(place.joint for place in self._servos)))

    def plan(self, fault: Fault, now: float) -> None:
        """Let a fault happen at its own time from now on.

        Raises:
            ValueError: if its joint does not exist, or its servo cannot have it.
        """
        if fault.joint is not None:
            servo = self.servo(fault.joint)
            if fault.name == "watchdog-tripped" and not isinstance(servo, DynamixelServo):
                raise ValueError(f"the servo of {fault.joint} has no bus watchdog; only Dynamixel servos have one")
        self._schedule(fault, now + fault.start, begins=True)

    def next_event(self) -> float:
        """When the next fault begins or ends; infinite if none does."""
        return self._coming[0][0] if self._coming else math.inf

    def happen(self) -> None:
        """Begin or end the next fault."""
        time, _, fault, begins = heapq.heappop(self._coming)
        if begins:
            self._begin(fault, time)
        else:
            self._end(fault)

    def clear(self, name: str, now: float) -> None:
        """End all faults of a name, also those that have not begun.

        Raises:
            ValueError: if there is none.
        """
        found = [fault for fault in self._active.values() if fault.name == name]
        coming = [event for event in self._coming if event[2].name == name]
        if not found and not coming and name not in self._wire.spoiling(now):
            raise ValueError(unknown("fault in force", name, self.in_force(now)))
        self._coming = [event for event in self._coming if event[2].name != name]
        heapq.heapify(self._coming)
        self._wire.leave(name)
        for fault in found:
            self._end(fault)

    def in_force(self, now: float) -> list[str]:
        """The names of the faults in force, with their joints."""
        lasting = [
            fault.name if fault.joint is None else f"{fault.name}:{fault.joint}" for fault in self._active.values()
        ]
        return lasting + self._wire.spoiling(now)

    def _schedule(self, fault: Fault, time: float, *, begins: bool) -> None:
        self._count += 1
        heapq.heappush(self._coming, (time, self._count, fault, begins))

    def _begin(self, fault: Fault, time: float) -> None:
        until = None if fault.lasts is None else time + fault.lasts
        if fault.name in FRAME_FAULTS:
            self._wire.spoil(fault.name, until)
            return
        if fault.joint is not None and self._happen(fault, self.servo(fault.joint)):
            return
        if (fault.name, fault.joint) in self._active:
            return
        self._active[fault.name, fault.joint] = fault
        self._set(fault, True, time)
        if until is not None:
            self._schedule(fault, until, begins=False)

    def _end(self, fault: Fault) -> None:
        if self._active.pop((fault.name, fault.joint), None) is not None:
            self._set(fault, False, self._plant.time)

    def _happen(self, fault: Fault, servo: AnyServo) -> bool:
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
        elif fault.name in ("cable-pulled", "port-renamed"):
            self.cut, self.renamed = on, fault.name == "port-renamed"
            self._wire.drop()
        elif fault.name == "echo":
            self._wire.echo = on
        elif fault.name == "latency-16ms":
            self._wire.latency = _LATENCY if on else self._latency
        elif fault.name == "brown-out":
            self._plant.supply_factor = _BROWN_OUT if on else 1.0
        elif fault.name == "low-voltage":
            self._plant.supply_factor = self._low_supply() if on else 1.0
        elif fault.joint is not None:
            self._set_servo(fault, fault.joint, on, time)

    def _set_servo(self, fault: Fault, joint: str, on: bool, time: float) -> None:
        servo = self.servo(joint)
        if fault.name == "stuck-joint":
            self._plant.block(joint, on)
        elif fault.name == "missing-id":
            servo.silent = on
        elif fault.name == "locked-eeprom":
            servo.eeprom_stuck = on
        elif fault.name == "wrong-model":
            servo.memory["model_number"] = _OTHER_MODEL if on else servo.memory.table.model_number
            servo.memory.store("model_number")
        elif on:
            place = next(place for place in self._servos if place.joint == joint)
            ghost = self._make_servo(place, self._wire.baudrate, time)
            ghost.place(0.0)
            self._ghosts[joint] = ghost
            self._wire.line.servos.append(ghost)
        else:
            self._wire.line.servos.remove(self._ghosts.pop(joint))

    def _low_supply(self) -> float:
        """The fraction of the supply at which the first servo's voltage is below its limit."""
        nominal = self._plant.options.supply
        return max(
            (servo.memory.value("min_voltage_limit") - _BELOW_LIMIT) / (nominal or servo.motor.model.supply)
            for servo in self._servos.values()
        )
