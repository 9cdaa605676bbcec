"""`robot-ctrl calibrate ROBOT --camera NAME`: a camera's intrinsics from pictures of a ChArUco board."""

from collections.abc import Callable
from pathlib import Path

import cv2

from hardware.camera import Camera, Picture, VideoCamera
from hardware.camera_calibration import CharucoBoard, Intrinsics, calibrate_intrinsics
from hardware.camera_file import CameraFile
from hardware.clock import Clock, MonotonicClock
from hardware.errors import CameraError
from hardware.robot_file import CameraDescription, RobotDescription, load_description
from robot_ctrl.errors import ConfigError, UserError, unknown
from robot_ctrl.keyboard import Keys, pressed_keys

LARGEST_ERROR = 1.0
"""Pixels, root mean square, above which a calibration is refused."""

SQUARE, MARKER_SHARE = 0.03, 0.022 / 0.03
"""Side of the board's squares, m, and of its markers as a share of it."""

_PERIOD = 0.05


def calibrate_camera(robot: str, name: str, *, pictures: int = 15, square: float = SQUARE) -> str:
    """Calibrate one camera of a robot's file; returns what there is to say at the end.

    Args:
        robot: a packaged robot's name, or a YAML file.
        name: the camera's name there.
        pictures: with the board in them.
        square: side of the board's squares, m.

    Raises:
        ConfigError: if the robot has no such camera.
        CameraError: if the camera fails, or the pictures cannot be explained to a pixel.
        UserError: if standard input is no terminal.
    """
    description = load_description(robot)
    chosen, path, board = find_camera(description, name), camera_file(description, name), board_of(square)
    printed = path.with_suffix(".board.png")
    camera = VideoCamera(chosen.spec, chosen.source, max_age=chosen.max_age)
    with pressed_keys() as keys:
        camera.connect()
        try:
            cv2.imwrite(str(printed), board.draw())
            print(f"Print {printed}, {board.columns * board.square * 1e3:.0f} mm wide, on something flat.")
            seen = take_pictures(camera, board, pictures, keys, print, MonotonicClock())
        finally:
            camera.disconnect()
    intrinsics = calibrate_intrinsics(seen, board)
    write_intrinsics(intrinsics, path)
    return f"{name} is calibrated to {intrinsics.error:.2f} pixels: {path}.{advice(chosen, path)}"


def find_camera(description: RobotDescription, name: str) -> CameraDescription:
    """A camera of a robot's file.

    Raises:
        ConfigError: if the robot has no such camera.
    """
    described = {camera.name: camera for camera in description.cameras}
    if not described:
        raise ConfigError(
            f"{description.name}: unknown camera {name!r}: its file has none. Put it in, for example: "
            f"cameras: [{{name: {name}, source: 0, width: 640, height: 480}}]"
        )
    if name not in described:
        raise ConfigError(f"{description.name}: {unknown('camera', name, list(described))}")
    return described[name]


def camera_file(description: RobotDescription, name: str) -> Path:
    """Where a camera's calibration is: what the robot's file says, else ROBOT-CAMERA.json here."""
    return Path(find_camera(description, name).calibration or f"{description.name}-{name}.json")


def advice(camera: CameraDescription, path: Path) -> str:
    """What is left to do for the robot's file to know the calibration."""
    if camera.calibration is not None:
        return ""
    return f" Put 'calibration: {path.absolute()}' into camera {camera.name!r} of the robot's file."


def board_of(square: float) -> CharucoBoard:
    """The board with squares of another size, m.

    Raises:
        UserError: if there is no such board.
    """
    try:
        return CharucoBoard(square=square, marker=MARKER_SHARE * square)
    except ValueError as error:
        raise UserError(str(error)) from None


def take_pictures(
    camera: Camera, board: CharucoBoard, count: int, keys: Keys, say: Callable[[str], None], clock: Clock
) -> list[Picture]:
    """Take a picture at each Enter, until the board was seen in ``count``.

    Args:
        camera: connected.
        board: what must be in the pictures.
        count: how many.
        keys: what was typed since the last call.
        say: shows a line.
        clock: waits between two looks at the keys.

    Raises:
        CameraError: if the camera fails.
    """
    seen: list[Picture] = []
    say("Show the board from many sides and distances, tilted too; Enter takes a picture.")
    while len(seen) < count:
        if "\n" not in keys():
            clock.sleep_until(clock.now() + _PERIOD)
            continue
        image = camera.read().image
        if board.detect(image) is None:
            say("The board is not seen: all of it, in focus, without glare.")
            continue
        seen.append(image)
        say(f"{len(seen)} of {count}")
    return seen


def write_intrinsics(intrinsics: Intrinsics, path: Path) -> None:
    """Write a calibration that explains its pictures, whole or not at all.

    Raises:
        CameraError: if it is off by more than LARGEST_ERROR.
    """
    if intrinsics.error > LARGEST_ERROR:
        raise CameraError(
            f"the pictures are explained to {intrinsics.error:.2f} pixels only, {LARGEST_ERROR:g} is the limit; print "
            f"the board at its true size, keep it flat, and hold it still for each picture"
        )
    CameraFile.of(intrinsics).save(path)
