"""What a robot refuses to do, and why. Every message names the thing, the value, the limit and the remedy."""


class RobotError(RuntimeError):
    """Anything that a robot or its safety filter refuses."""


class NotConnectedError(RobotError):
    """The robot was used before ``connect`` or after ``disconnect``."""


class StoppedError(RobotError):
    """A fault is latched: no command goes out until ``clear_fault``."""


class CommandRefusedError(RobotError):
    """A command that must not be sent in any form: not finite, or of the wrong shape."""


class EpisodeOverError(RobotError):
    """The environment's episode has ended; it takes no command before ``reset``."""


class ConnectionLostError(RobotError):
    """A robot that answered before does not answer any more: unplugged, switched off, or its server ended."""


class StaleStateError(RobotError):
    """What the robot reports has not changed for longer than it may: a value that is too old is no value."""


class PortError(RobotError):
    """A serial port that cannot be opened: missing, not permitted, or not a serial port."""


class PortBusyError(PortError):
    """A serial port that another program holds."""


class BusError(RobotError):
    """A servo that does not answer, or a line on which nothing but noise comes."""


class ServoFaultError(RobotError):
    """A servo that reports a hardware error, refuses an instruction, or cannot be trusted any more."""


class ServoSetupError(RobotError):
    """A servo that is not as the robot's file says: its model, its settings, its limits or its supply."""


class CalibrationError(RobotError):
    """A calibration that is missing, unreadable, or not that of the servos on the bus."""


class RobotFileError(RobotError):
    """A robot's file that says something impossible, or not enough."""


class MissingPackageError(RobotError, ImportError):
    """A robot needs a package that is not installed; the message says which extra brings it."""


class CameraError(RobotError):
    """A camera that cannot be trusted: unplugged, stale, frozen, or changed in size."""


class RenderingUnavailableError(RuntimeError):
    """There is no OpenGL to draw with; callers may go on without pictures."""


class PixelLostError(RobotError):
    """A tracked pixel that left the picture, or has been hidden for too long."""
