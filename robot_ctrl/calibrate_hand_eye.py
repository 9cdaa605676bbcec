"""`robot-ctrl calibrate ROBOT --camera NAME --hand-eye`: where a camera is, from the arm's own poses.

A person brings the arm to different poses, by keys or by hand. The board is on the gripper and the camera stands, or
the camera is on the gripper and the board lies. The result joins the camera's intrinsics in its calibration file.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from hardware.camera_calibration import CharucoBoard, Intrinsics
from hardware.camera_file import CameraFile, MeasuredPose, load_camera_file
from hardware.camera_pose import BoardView, CameraPose, fit_camera_pose, turn_between
from hardware.errors import CameraError
from hardware.robot import Array, Observation
from hardware.robot_file import RobotDescription, make_twin
from hardware.twin import KinematicTwin
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.calibrate_camera import SQUARE, advice, board_of, camera_file, find_camera
from robot_ctrl.errors import ConfigError
from robot_ctrl.guided import Take, guide_by_hand, guide_by_keys
from robot_ctrl.keyboard import Keys, pressed_keys
from robot_ctrl.realtime.control_process import ControlSettings, GoTo
from robot_ctrl.realtime.driving import MOVE_SECONDS, ending_at_rest, refuse_while_latched
from robot_ctrl.realtime.sources import CameraSource, DescribedArm, described
from robot_ctrl.realtime.supervisor import READY_SECONDS, Supervisor

LEAST_TURN = np.deg2rad(8.0)
"""By how much each pose must be turned from every earlier one, rad: others tell nothing new."""

LARGEST_METRES, LARGEST_DEGREES = 0.02, 3.0
"""What a held-out picture may be off by for a calibration to be kept."""

MOST_PIXELS = 1280 * 720
"""Of a picture; larger ones do not fit through what the processes share."""

_RATE, _SPEED = 5.0, 0.8


def calibrate_hand_eye(
    robot: str,
    name: str,
    port: str | None = None,
    *,
    on_gripper: bool = False,
    by_hand: bool = False,
    poses: int = 12,
    square: float = SQUARE,
    keys: Keys | None = None,
    latch_folder: Path | None = None,
) -> str:
    """Find where a camera of a robot's file is; returns what there is to say at the end.

    Args:
        robot: a packaged robot's name, or a YAML file.
        name: the camera's name there; its intrinsics must be calibrated.
        port: where the robot is, instead of what its file says.
        on_gripper: whether the camera is on the gripper and the board lies, instead of the other way round.
        by_hand: whether the arm is moved by hand, limp, instead of by keys.
        poses: how many are taken, at least.
        square: side of the board's squares, m.
        keys: what was typed since the last call; None reads the terminal.
        latch_folder: where faults are latched; None takes the user's state folder.

    Raises:
        ConfigError: if the robot has no such camera, or no twin that tells where its gripper is.
        CameraError: if the intrinsics are missing, the camera fails, or the poses cannot be explained.
        StoppedError: while a fault is latched, or when the arm had to be stopped.
        UserError: if standard input is no terminal.
    """
    source = described(robot, port, model_rate=_RATE)
    refuse_while_latched(source.name, latch_folder)
    description = source.description
    chosen, path = find_camera(description, name), camera_file(description, name)
    known = load_camera_file(path)
    if (known.width, known.height) != (chosen.width, chosen.height) or chosen.width * chosen.height > MOST_PIXELS:
        raise CameraError(
            f"camera {name!r}: its pictures are {chosen.width}x{chosen.height} pixels, its intrinsics were measured at "
            f"{known.width}x{known.height}, and at most {MOST_PIXELS} pixels can be used: set one size of at most "
            f"1280x720 in the robot's file, and calibrate the intrinsics again"
        )
    twin, site = _gripper(description)
    collector = PoseCollector(board_of(square), known.intrinsics, twin, site, poses, print, on_gripper=on_gripper)
    cameras = (CameraSource(chosen, chosen.spec),)
    with ExitStack() as stack:
        typed = keys or stack.enter_context(pressed_keys())
        print(collector.instruction, flush=True)
        if by_hand:
            guide_by_hand(source, cameras, typed, collector.take)
        else:
            recording = path.with_name(f"{path.stem}.poses.mcap").absolute()
            _drive(source, cameras, typed, collector.take, recording, latch_folder)
    found = collector.result()
    frame = site if on_gripper else "base"
    write_pose(known, found, frame, path)
    return f"{name} is located: {in_words(found)}; {path}.{advice(chosen, path)}"


class PoseCollector:
    """Takes pictures of the board from poses that differ, until there are enough to locate the camera.

    Args:
        board: what must be in the pictures.
        intrinsics: of the camera.
        twin: tells where the gripper is.
        site: the gripper's, in the twin.
        count: how many poses, at least.
        say: shows a line.
        on_gripper: whether the camera is there, instead of the board.
    """

    def __init__(
        self,
        board: CharucoBoard,
        intrinsics: Intrinsics,
        twin: KinematicTwin,
        site: str,
        count: int,
        say: Callable[[str], None],
        *,
        on_gripper: bool,
    ) -> None:
        self._board, self._intrinsics, self._twin, self._site = board, intrinsics, twin, site
        self._count, self._say, self._on_gripper = count, say, on_gripper
        self._views: list[BoardView] = []
        self._found: CameraPose | None = None

    @property
    def instruction(self) -> str:
        """What the person should do."""
        board, side = self._board, 1e3 * self._board.square
        where = (
            "Fix the board to the gripper so that it cannot slip"
            if not self._on_gripper
            else "Fix the camera to the gripper, and lay the board where it cannot slip"
        )
        return (
            f"{where} ({board.columns}x{board.rows} squares of {side:.0f} mm: measure one). Then bring the arm to "
            f"{self._count} poses that turn the gripper about two axes, by {np.rad2deg(LEAST_TURN):.0f} degrees and "
            f"more, with all of the board in the picture; Enter takes each."
        )

    def take(self, observation: Observation) -> bool:
        """Use what is seen in a pose, if it tells something new; returns whether that was the last."""
        (picture,) = observation.images.values()
        gripper = self._twin.site_poses(observation.values["joint_position"])[self._site]
        corners = self._board.detect(np.asarray(picture))
        if corners is None:
            self._say("The board is not seen: all of it, in focus, without glare.")
            return False
        turns = [turn_between(gripper, view.gripper) for view in self._views]
        if turns and min(turns) < LEAST_TURN:
            self._say(f"Too like an earlier pose ({np.rad2deg(min(turns)):.0f} degrees): turn the wrist further.")
            return False
        self._views.append(BoardView(gripper, corners))
        self._say(f"{len(self._views)} of {self._count}")
        return len(self._views) >= self._count and self._located()

    def result(self) -> CameraPose:
        """Where the camera is.

        Raises:
            CameraError: if that is not known.
        """
        if self._found is None:
            raise CameraError(f"hand-eye calibration: {len(self._views)} of {self._count} poses were taken")
        return self._found

    def _located(self) -> bool:
        try:
            self._found = fit_camera_pose(self._views, self._intrinsics, on_gripper=self._on_gripper)
        except CameraError as error:
            self._say(f"{error}. Go on.")
            return False
        return True


def in_words(found: CameraPose) -> str:
    """How good a camera's pose is, and where it is."""
    x, y, z = found.camera[:3, 3]
    return (
        f"at {x:.3f}, {y:.3f}, {z:.3f} m; pictures that were left out agree to {found.pixels:.2f} pixels, "
        f"{1e3 * found.metres:.1f} mm and {found.degrees:.2f} degrees"
    )


def write_pose(known: CameraFile, found: CameraPose, frame: str, path: Path) -> None:
    """Put a camera's pose beside its intrinsics, whole or not at all.

    Raises:
        CameraError: if pictures that were left out of the fit are too far off.
    """
    if not (found.metres <= LARGEST_METRES and found.degrees <= LARGEST_DEGREES):
        raise CameraError(
            f"the poses are not explained: {in_words(found)}; the limits are {1e3 * LARGEST_METRES:.0f} mm and "
            f"{LARGEST_DEGREES:g} degrees, and nothing was written. Calibrate the arm's zeros, measure the board's "
            f"squares, and fix board and camera so that they cannot slip"
        )
    matrix = found.camera.tolist()
    measured = MeasuredPose(frame=frame, matrix=matrix, pixels=found.pixels, metres=found.metres, degrees=found.degrees)
    known.model_copy(update={"pose": measured}).save(path)


def _gripper(description: RobotDescription) -> tuple[KinematicTwin, str]:
    twin = make_twin(description)
    if twin is None or not description.points:
        raise ConfigError(
            f"{description.name}: where its gripper is cannot be told: name the arm's MJCF model under 'twin', and the "
            f"gripper's site under 'points', in the robot's file."
        )
    return twin, description.points[0]


def _drive(
    source: DescribedArm,
    cameras: tuple[CameraSource, ...],
    keys: Keys,
    take: Take,
    recording: Path,
    latch_folder: Path | None,
) -> None:
    """Let a person drive the arm by keys, then park it."""
    scale = ActionScale.delta(source.spec, _SPEED, 1 / _RATE)
    settings = ControlSettings(source, scale, 1 / _RATE, latch=latch_folder, cameras=cameras)
    recording.unlink(missing_ok=True)
    with Supervisor(settings) as supervisor, ending_at_rest(supervisor, source.name):
        supervisor.start_recorder()
        supervisor.start_control()
        supervisor.wait_for(lambda now: now.control.ticks > 0, READY_SECONDS, "connecting the robot")
        guide_by_keys(supervisor, settings, keys, take, recording)
        pose: Array | None = None if source.spec.park_pose is None else np.array(source.spec.park_pose)
        if source.safe_policy == "park" and pose is not None:
            supervisor.carry_out(lambda order: GoTo(order, pose, _SPEED), MOVE_SECONDS, "parking")
