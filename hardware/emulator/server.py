"""The emulator's process: steps the arm in real time, serves its port, obeys the process that started it.

Started by ``hardware.emulator.emulator.Emulator`` as ``python -m hardware.emulator.server FD``; the file descriptor is
one end of a pipe. It ends when told so, and when the other end is gone.
"""

import contextlib
import os
import select
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from hardware.clock import MonotonicClock
from hardware.emulator.arm import EmulatedArm
from hardware.emulator.camera import CameraProcess
from hardware.emulator.pty import PtyPort
from hardware.emulator.settings import EmulatorSettings
from hardware.names import unknown

_TICK = 0.020
_FAR_BEHIND = 0.5


class PortServer:
    """One arm on one pseudo-terminal, in real time.

    Args:
        settings: the arm.
        control: where orders come from.
    """

    def __init__(self, settings: EmulatorSettings, control: "Connection[Any, Any]") -> None:
        self._clock = MonotonicClock()
        now = self._clock.now()
        self._arm = EmulatedArm(
            settings.model,
            settings.places,
            plant=settings.plant,
            wire=settings.wire,
            baudrate=settings.baudrate,
            start=settings.start,
            time=now,
            seed=settings.seed,
        )
        self._control = control
        self._port = PtyPort(settings.link)
        self._port.open()
        self._barred = (False, False)
        self._cameras: list[CameraProcess] = []
        try:
            for fault in settings.faults:
                self._arm.inject(fault, now)
            for stream in settings.cameras:
                if stream.name not in self._arm.plant.cameras:
                    raise ValueError(unknown(f"camera in {settings.model.name}", stream.name, self._arm.plant.cameras))
                self._cameras.append(CameraProcess(settings.model, settings.plant.payload, stream))
        except BaseException:
            self.close()
            raise

    @property
    def camera_urls(self) -> list[str]:
        """Where its cameras' streams are read from."""
        return [camera.url for camera in self._cameras]

    def close(self) -> None:
        """Take the port and the cameras away."""
        self._port.remove()
        for camera in self._cameras:
            camera.close()

    def run(self) -> None:
        """Serve until told to stop, or until the other end of the pipe is gone."""
        try:
            while self._serve_once():
                pass
        finally:
            self.close()

    def _serve_once(self) -> bool:
        now = self._clock.now()
        wait = min(max(self._arm.next_event() - now, 0.0), _TICK)
        sources: list[Any] = [self._control, self._port] if self._port.is_open else [self._control]
        ready, _, _ = select.select(sources, [], [], wait)
        now = self._clock.now()
        if now - self._arm.time > _FAR_BEHIND:
            self._arm.skip(now)
        if self._port in ready:
            data = self._port.read()
            self._arm.wire.baudrate = self._port.baudrate() or self._arm.wire.baudrate
            self._arm.write(data, now)
        if reply := self._arm.read(now):
            self._port.write(reply)
        for camera in self._cameras:
            camera.show(self._arm.plant.data.qpos.copy(), now)
        self._follow_faults()
        return self._obey(now) if self._control in ready else True

    def _follow_faults(self) -> None:
        """Do to the port what the arm's faults say."""
        if self._arm.faults.cut and self._port.is_open:
            self._port.close(rename=self._arm.faults.renamed)
        elif not self._arm.faults.cut and not self._port.is_open:
            self._port.open()
            self._barred = (False, False)
        barred = (self._arm.faults.busy, self._arm.faults.forbidden)
        if self._port.is_open and barred != self._barred:
            self._barred = barred
            self._port.hold(self._arm.faults.busy)
            self._port.forbid(self._arm.faults.forbidden)

    def _obey(self, now: float) -> bool:
        """Carry out one order; whether to go on."""
        try:
            order, argument = self._control.recv()
        except EOFError:
            return False
        if order == "stop":
            return False
        try:
            answer = getattr(self._arm, order)(now) if argument is None else getattr(self._arm, order)(argument, now)
            self._control.send((True, answer))
        except ValueError as error:
            self._control.send((False, str(error)))
        return True


def main(descriptor: int) -> None:
    """Serve what the other end of the pipe asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _go_before_others()
    control: Connection[Any, Any] = Connection(descriptor)
    try:
        server = PortServer(control.recv(), control)
    except (ValueError, OSError) as error:
        control.send((False, str(error)))
        return
    control.send((True, server.camera_urls))
    with contextlib.suppress(BrokenPipeError):
        server.run()


def _go_before_others() -> None:
    """Be as punctual as a servo, where the system allows it: no computation of the host delays one."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


if __name__ == "__main__":
    main(int(sys.argv[1]))
