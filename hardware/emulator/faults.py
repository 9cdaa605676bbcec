"""What can go wrong with a physical arm's bus and servos, to be injected by name while it runs."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hardware.names import unknown

PORT_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "cable-pulled": "the port vanishes with an input/output error; it comes back when the fault ends",
        "port-renamed": "the port vanishes and comes back under another device name, by-id link kept",
        "port-busy": "another program holds the port: nobody can open it",
        "permission-denied": "the user may not open the port (root always may)",
    }
)
"""Faults of the port itself."""

FRAME_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "partial-frame": "a reply stops half-way",
        "garbage": "random bytes come before a reply",
        "crc-flip": "one bit of a reply is wrong",
        "lost-request": "a request never reaches the servos",
        "lost-reply": "a reply never reaches the host",
        "late-reply": "a reply comes 100 ms late, into the next transaction",
        "wrong-id": "a reply carries the identifier of another servo",
        "reordered-replies": "the servos of a sync read answer in the wrong order",
    }
)
"""Faults of single transactions: without a duration each spoils the next one only."""

LINE_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "echo": "the host hears its own bytes",
        "latency-16ms": "the adapter's latency timer is at 16 ms",
    }
)
"""States of the line."""

SERVO_STATES: Mapping[str, str] = MappingProxyType(
    {
        "stuck-joint": "the joint is blocked mechanically",
        "missing-id": "the servo is silent, as if unplugged from the bus; its motor goes on",
        "duplicate-id": "a second servo with the same identifier answers too",
        "wrong-model": "the servo says that it is another model",
        "locked-eeprom": "the servo's EEPROM takes no writes",
        "low-voltage": "the supply sinks to just below the servo's limit",
    }
)
"""States of a servo, a joint or the supply."""

SERVO_EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "overload": "the servo reports an overload and gives up torque, as after a long strain",
        "overheating": "the motor is 5 °C above its limit",
        "encoder-error": "the servo reports a defective encoder",
        "encoder-wrap": "the position jumps by one turn",
        "brown-out": "the supply breaks down for 50 ms: servos restart without torque",
        "watchdog-tripped": "the servo's bus watchdog expires (Dynamixel)",
        "changed-eeprom": "the stored homing offset is 100 counts off, unlike the calibration file",
    }
)
"""What happens to a servo once."""

FAULTS: Mapping[str, str] = MappingProxyType(
    {**PORT_FAULTS, **FRAME_FAULTS, **LINE_FAULTS, **SERVO_STATES, **SERVO_EVENTS}
)
"""All faults by name, with what they do."""

_NEEDS_JOINT = {*SERVO_STATES, *SERVO_EVENTS} - {"brown-out", "low-voltage"}
_DEFAULT_DURATION = {"cable-pulled": 1.0, "port-renamed": 0.5, "brown-out": 0.05}
_TEXT = re.compile(
    r"(?P<name>[a-z0-9-]+)(?:[:\s]\s*(?P<joint>[A-Za-z_]\w*))?"
    r"(?:\s*@\s*(?P<start>[0-9.]+))?(?:\s*\+\s*(?P<duration>[0-9.]+))?"
)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: one of FAULTS.
        joint: the joint whose servo it befalls; None for the whole arm.
        start: s from now.
        duration: s; None for the fault's own: one transaction, an instant, or until it is cleared.

    Raises:
        ValueError: if there is no such fault, it needs a joint, or a time is impossible.
    """

    name: str
    joint: str | None = None
    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be injected."""
        if self.name not in FAULTS:
            raise ValueError(unknown("fault", self.name, FAULTS))
        if self.joint is None and self.name in _NEEDS_JOINT:
            raise ValueError(f"the fault {self.name!r} needs a joint: write {self.name}:JOINT")
        if self.joint is not None and self.name not in _NEEDS_JOINT:
            raise ValueError(f"the fault {self.name!r} befalls the whole arm: write it without a joint")
        for value in (self.start, self.duration or 0.0):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"the fault {self.name!r} cannot start at or last {value} s; take 0 or more")

    @property
    def lasts(self) -> float | None:
        """How long it lasts, s; None for one transaction, an instant, or until it is cleared."""
        return self.duration if self.duration is not None else _DEFAULT_DURATION.get(self.name)

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read ``NAME[:JOINT][@START][+DURATION]``, times in s: ``stuck-joint:elbow_flex@10+2``.

        Raises:
            ValueError: if the text is no fault.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is no fault; write NAME[:JOINT][@START][+DURATION], such as overload:elbow_flex@10"
            )
        duration = match["duration"]
        return cls(
            match["name"],
            match["joint"],
            _number(text, match["start"] or "0"),
            None if duration is None else _number(text, duration),
        )


def _number(text: str, digits: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise ValueError(f"{text!r}: {digits!r} is no time in seconds") from None
