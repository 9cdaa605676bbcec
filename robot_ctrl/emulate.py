"""``robot-ctrl emulate``: a robot's servo bus and body behind a port that every other command can open."""

import contextlib
import os
import select
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from hardware.emulator import FAULTS, CameraStream, Emulator, Fault, PlantOptions, WireOptions, emulate
from hardware.emulator.arm import ArmStatus
from hardware.robot_file import RobotDescription, load_description
from robot_ctrl.errors import Interrupted, UserError

_PERIOD = 0.5
_CHUNK = 4096
_HELP = (
    "Type a fault, such as 'overload elbow_flex' or 'stuck-joint gripper @2 +5'; 'clear NAME'; 'faults'; "
    "'move JOINT RAD' to take a joint by hand, 'let go'; 'quit'."
)


def emulate_command(
    robot: str,
    *,
    port_link: Path | None = None,
    payload: float = 0.0,
    friction: float = 1.0,
    damping: float = 1.0,
    delay: float = 0.0,
    noise: float = 0.0,
    latency: float = 0.001,
    faults: Iterable[str] = (),
    camera: str = "workspace",
    camera_port: int | None = None,
    seed: int = 0,
) -> int:
    """Emulate a robot until Ctrl-C: print its port, show how it is, and let faults be typed in.

    Args:
        robot: a packaged robot's name, or a YAML file.
        port_link: a symbolic link to the port, to have the same name every time.
        payload: kg in the gripper.
        friction: factor on the joints' dry friction.
        damping: factor on their viscous friction.
        delay: s between a goal's arrival and its effect.
        noise: standard deviation of the encoders' error, rad.
        latency: s that the serial adapter keeps bytes back.
        faults: NAME[:JOINT][@START][+DURATION] each.
        camera: the camera of the robot's MJCF model to serve; its size is that in the robot's file, or 320 by 240.
        camera_port: TCP port of its motion JPEG stream; None serves none.
        seed: of noise and garbage.

    Returns:
        The exit status.

    Raises:
        UserError: if an option or a fault is impossible.
        RobotError: if the robot cannot be emulated, or its emulator has ended.
    """
    description = load_description(robot)
    try:
        emulator = emulate(
            description,
            plant=PlantOptions(payload=payload, friction=friction, damping=damping, delay=delay, noise=noise),
            wire=WireOptions(latency=latency),
            faults=[Fault.parse(text) for text in faults],
            cameras=[] if camera_port is None else [_stream(description, camera, camera_port)],
            link=None if port_link is None else port_link.absolute(),
            seed=seed,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    with emulator:
        print(f"{description.name} is at {emulator.port}", flush=True)
        for url in emulator.camera_urls:
            print(f"its camera {camera!r} is at {url}", flush=True)
        print(f"Leave with Ctrl-C. {_HELP}", flush=True)
        with contextlib.suppress(Interrupted, KeyboardInterrupt):
            _attend(emulator)
    print(f"\n{description.name} is gone.")
    return 0


def _stream(description: RobotDescription, camera: str, port: int) -> CameraStream:
    """A camera of the robot's MJCF model, with pictures of the size that its file states, if it names the camera."""
    for known in description.cameras:
        if known.name == camera:
            return CameraStream(camera, port, known.width, known.height)
    return CameraStream(camera, port)


def _attend(emulator: Emulator) -> None:
    """Show how the arm is, and obey what is typed, until told to stop."""
    typed = _TypedLines()
    live = sys.stdout.isatty()
    shown = ""
    due = time.monotonic()
    while True:
        for line in typed.wait(max(due - time.monotonic(), 0.0)):
            if line == "quit":
                return
            print(_obeyed(emulator, line), flush=True)
        if time.monotonic() < due:
            continue
        due = time.monotonic() + _PERIOD
        status = emulator.status()
        if live:
            print(f"\r\033[K{_picture(status)}", end="", flush=True)
        elif (line := _events(status)) != shown:
            shown = line
            print(line, flush=True)


class _TypedLines:
    """What is typed on standard input, as far as there is one."""

    def __init__(self) -> None:
        self._rest = ""
        self._open = True

    def wait(self, seconds: float) -> list[str]:
        """The lines that are typed within a time; returns at the first ones."""
        if not self._open or _in_background():
            time.sleep(seconds)
            return []
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return []
        text = os.read(sys.stdin.fileno(), _CHUNK).decode(errors="replace")
        self._open = text != ""
        *lines, self._rest = (self._rest + text).split("\n")
        return [line.strip() for line in lines if line.strip()]


def _in_background() -> bool:
    """Whether the terminal belongs to another program now: reading from it would stop this one."""
    terminal = sys.stdin.fileno()
    return os.isatty(terminal) and os.tcgetpgrp(terminal) != os.getpgrp()


def _obeyed(emulator: Emulator, line: str) -> str:
    """Carry out a line that was typed; what to say about it."""
    word, _, rest = line.partition(" ")
    try:
        if word == "clear":
            emulator.clear(rest.strip())
            return f"{rest.strip()} is over"
        if word == "move":
            joint, _, position = rest.strip().partition(" ")
            emulator.move(joint, _radians(position))
            return f"a hand moves {joint} to {position.strip()} rad and holds it"
        if line == "let go":
            emulator.let_go()
            return "the hand has let go"
        if word == "faults":
            return "\n".join(f"  {name:18} {text}" for name, text in FAULTS.items())
        fault = Fault.parse(line)
        emulator.inject(fault)
    except ValueError as error:
        return f"{error}. {_HELP}"
    return f"{fault.name}: {FAULTS[fault.name]}"


def _radians(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is no angle in rad") from None


def _picture(status: ArmStatus) -> str:
    """One line that fits the terminal: what is wrong, heat, voltage, and all joints."""
    joints = " ".join(
        f"{name} {position:+.2f}{'' if on else ' off'}"
        for name, position, on in zip(status.joints, status.position, status.torque_on, strict=True)
    )
    wrong = [*_errors(status), *status.faults]
    heat, volts = max(status.temperature), min(status.voltage)
    line = f"{', '.join(wrong) or 'well'} | {heat:.0f} °C {volts:.1f} V | {status.requests} requests | {joints}"
    return line[: shutil.get_terminal_size().columns - 1]


def _errors(status: ArmStatus) -> list[str]:
    """The hardware error masks of servos that report one."""
    return [f"{name} 0x{error:02X}" for name, error in zip(status.joints, status.errors, strict=True) if error]


def _events(status: ArmStatus) -> str:
    """What is worth a line in a log: torque, errors and faults."""
    torque = [name for name, on in zip(status.joints, status.torque_on, strict=True) if on]
    errors = _errors(status)
    return "; ".join(
        [
            f"torque on: {', '.join(torque) or 'none'}",
            *([f"errors: {', '.join(errors)}"] if errors else []),
            *([f"faults: {', '.join(status.faults)}"] if status.faults else []),
        ]
    )
