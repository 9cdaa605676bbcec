"""The commands for physical arms and their emulators."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from robot_ctrl.commands.arguments import add_command, positive
from robot_ctrl.errors import UserError

ROBOT_HELP = "a name from `list`, or a YAML file"
PORT_HELP = "where the robot is, instead of what its file says"
CAMERA_HELP = "the camera of its file that sees what the simulated one saw (default the one of the same name)"


def add_commands(commands: Any) -> None:
    """Add the commands that drive or look at a robot."""
    add = partial(add_command, commands)

    def robot(command: argparse.ArgumentParser) -> None:
        command.add_argument("robot", metavar="ROBOT", help=ROBOT_HELP)
        command.add_argument("--port", help=PORT_HELP)

    command = add("deploy", _deploy, "run on a physical arm, or on its emulator, and go on learning there")
    command.add_argument("run", type=Path, metavar="RUN", help="a run folder, trained in simulation")
    command.add_argument("--robot", required=True, metavar="ROBOT", help=ROBOT_HELP)
    command.add_argument("--port", help=PORT_HELP)
    command.add_argument("--episodes", type=positive, default=10, metavar="N", help="further episodes (default 10)")
    command.add_argument("--no-learn", action="store_true", help="keep the model as it is")
    command.add_argument("--no-park", action="store_true", help="leave the arm where the last episode ended")
    command.add_argument("--seed", type=int, default=0, help="which starts and targets (default 0)")
    command.add_argument("--name", help="of the folder in RUN/deployments (default the robot's)")
    command.add_argument("--camera", metavar="NAME", help=CAMERA_HELP)

    command = add("emulate", _emulate, "a MuJoCo arm behind the robot's real wire protocol")
    command.add_argument("robot", metavar="ROBOT", help=ROBOT_HELP)
    command.add_argument("--port-link", type=Path, metavar="PATH", help="a name for the port that stays the same")
    for option, default, text in (
        ("payload", 0.0, "kg in the gripper"),
        ("friction", 1.0, "factor on the joints' dry friction"),
        ("damping", 1.0, "factor on the joints' viscous friction"),
        ("delay", 0.0, "seconds between a goal's arrival and its effect"),
        ("noise", 0.0, "standard deviation of the encoders, rad"),
        ("latency", 0.001, "seconds that the serial adapter keeps bytes back"),
    ):
        command.add_argument(
            f"--{option}", type=float, default=default, metavar="X", help=f"{text} (default {default:g})"
        )
    command.add_argument(
        "--fault", action="append", default=[], metavar="NAME[:JOINT][@START][+DURATION]", help="a fault"
    )
    command.add_argument("--camera", default="workspace", metavar="NAME", help="of the MJCF model (default workspace)")
    command.add_argument("--camera-port", type=int, metavar="N", help="serve the camera as motion JPEG on this port")
    command.add_argument("--seed", type=int, default=0, help="of noise (default 0)")

    robot(add("doctor", _doctor, "what is right and wrong with a robot; moves nothing"))

    command = add("calibrate", _calibrate, "measure an arm's zeros and ranges, guided, joint by joint")
    robot(command)
    command.add_argument("--again", action="store_true", help="measure joints anew that are done")
    command.add_argument("--camera", metavar="NAME", help="calibrate this camera of its file instead, with a board")
    command.add_argument("--hand-eye", action="store_true", help="with --camera: find where the camera is")
    command.add_argument("--on-gripper", action="store_true", help="with --hand-eye: the camera is, and the board lies")
    command.add_argument("--by-hand", action="store_true", help="with --hand-eye: the arm goes limp, move it by hand")
    command.add_argument("--square", type=float, default=30.0, metavar="MM", help="of the board (default 30)")

    command = add("teleop", _teleop, "drive a robot from the keyboard or with a leader arm, and record it")
    robot(command)
    command.add_argument("--leader", metavar="ROBOT", help="a second arm to follow")
    command.add_argument("--leader-port", metavar="PORT", help="where the leader is")
    command.add_argument("--out", type=Path, default=Path("teleop"), help="folder of the episodes (default teleop)")
    command.add_argument("--seconds", type=float, default=60.0, help="longest episode (default 60)")
    command.add_argument("--for", type=Path, dest="run", metavar="RUN", help="record as this run's task learns from it")
    command.add_argument("--camera", metavar="NAME", help=f"with --for: {CAMERA_HELP}")

    robot(add("park", _park, "bring an arm to where it can rest, and release it"))
    robot(add("reset-fault", _reset_fault, "the only way out of a latched fault; moves nothing"))


def add_goal_arguments(command: argparse.ArgumentParser) -> None:
    """Add what executing a goal on a robot takes."""
    command.add_argument("--robot", metavar="ROBOT", help=f"do it on an arm or its emulator: {ROBOT_HELP}")
    command.add_argument("--port", help=PORT_HELP)
    command.add_argument("--camera", metavar="NAME", help=CAMERA_HELP)
    command.add_argument(
        "--by-hand", action="store_true", help="with --capture: the arm goes limp and is moved by hand"
    )
    command.add_argument("--no-park", action="store_true", help="leave the arm where the episode ended")


def _deploy(given: argparse.Namespace) -> int:
    from robot_ctrl.deploy import deploy

    print(
        deploy(
            given.run,
            given.robot,
            port=given.port,
            episodes=given.episodes,
            learn=not given.no_learn,
            park=not given.no_park,
            seed=given.seed,
            name=given.name,
            camera=given.camera,
        )
    )
    return 0


def _emulate(given: argparse.Namespace) -> int:
    from robot_ctrl.emulate import emulate_command

    return emulate_command(
        given.robot,
        port_link=given.port_link,
        payload=given.payload,
        friction=given.friction,
        damping=given.damping,
        delay=given.delay,
        noise=given.noise,
        latency=given.latency,
        faults=given.fault,
        camera=given.camera,
        camera_port=given.camera_port,
        seed=given.seed,
    )


def _doctor(given: argparse.Namespace) -> int:
    from robot_ctrl.doctor import doctor

    return doctor(given.robot, given.port)


def _calibrate(given: argparse.Namespace) -> int:
    if ((given.on_gripper or given.by_hand) and not given.hand_eye) or (given.hand_eye and given.camera is None):
        raise UserError("calibrate: --hand-eye goes with --camera, and --on-gripper and --by-hand with --hand-eye.")
    if given.hand_eye:
        from robot_ctrl.calibrate_hand_eye import calibrate_hand_eye

        how = {"on_gripper": given.on_gripper, "by_hand": given.by_hand, "square": given.square / 1e3}
        print(calibrate_hand_eye(given.robot, given.camera, given.port, **how))
        return 0
    if given.camera is not None:
        from robot_ctrl.calibrate_camera import calibrate_camera

        print(calibrate_camera(given.robot, given.camera, square=given.square / 1e3))
        return 0
    from robot_ctrl.calibrate import calibrate

    print(calibrate(given.robot, given.port, again=given.again))
    return 0


def _teleop(given: argparse.Namespace) -> int:
    from robot_ctrl.teleop import teleop

    print(
        teleop(
            given.robot,
            given.port,
            leader=given.leader,
            leader_port=given.leader_port,
            out=given.out,
            seconds=given.seconds,
            run=given.run,
            camera=given.camera,
        )
    )
    return 0


def _park(given: argparse.Namespace) -> int:
    from robot_ctrl.park import park

    print(park(given.robot, given.port))
    return 0


def _reset_fault(given: argparse.Namespace) -> int:
    from robot_ctrl.reset_fault import reset_fault

    print(reset_fault(given.robot, port=given.port))
    return 0
