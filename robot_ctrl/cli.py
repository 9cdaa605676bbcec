"""The command line. Heavy imports wait until a command needs them, so that ``--help`` answers at once."""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware.errors import RobotError
from robot_ctrl import __version__
from robot_ctrl.commands import recordings, robots
from robot_ctrl.commands.arguments import numbers, pixel, positive
from robot_ctrl.errors import Interrupted, UserError
from robot_ctrl.interruption import interruptible

TASK_HELP = "a name from `list`, a YAML file, path/to/file.py:MyTask, dmc:domain-task, or gym:EnvId"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("robot_ctrl").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        with interruptible():
            return int(given.command(given))
    except UserError as error:
        return _failed(2, str(error), error)
    except RobotError as error:
        return _failed(1, str(error), error)
    except OSError as error:
        return _failed(1, _explained(error), error)
    except Interrupted as interruption:
        return _failed(128 + interruption.signal_number, f"{interruption}; what was recorded is kept.", interruption)


def _failed(status: int, message: str, error: BaseException) -> int:
    """Say what went wrong, with the remedies noted on the way up; returns the exit status."""
    notes = getattr(error, "__notes__", ())
    end = "." if notes and not message.endswith((".", "?")) else ""
    print(" ".join([f"robot-ctrl: {message}{end}", *notes]), file=sys.stderr)
    return status


def _explained(error: OSError) -> str:
    """The system's words for it, with a remedy where the disk is full."""
    if error.errno is not None and error.strerror != os.strerror(error.errno):
        return str(error.strerror)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}the disk is full. Free some space, or put run_dir on another disk."
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"there is no {error.filename}. Check the path."
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="robot-ctrl", description="Learn a robot's dynamics and replan through them.")
    parser.add_argument("--version", action="version", version=f"robot-ctrl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="tasks, robots, models, planners, with one line each")
    command.set_defaults(command=_list)

    command = commands.add_parser("run", help="learn and replan")
    command.add_argument("task", metavar="TASK", help=TASK_HELP)
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for example seed=1 planner.horizon=20")
    command.set_defaults(command=_run)

    command = commands.add_parser("evaluate", help="fixed-budget evaluation, written to RUN/evaluation.json")
    command.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    command.add_argument("--episodes", type=positive, default=20, metavar="N", help="trials (default 20)")
    command.add_argument("--seed", type=int, default=0, help="which held-out starts and targets (default 0)")
    command.set_defaults(command=_evaluate)

    command = commands.add_parser("resume", help="go on from the last finished episode")
    command.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="episodes=N or env_steps=N, to go further")
    command.set_defaults(command=_resume)

    command = commands.add_parser("goal", help="plan to a goal picture, or move what is at a pixel")
    command.add_argument("run", type=Path, metavar="RUN", help="a run of a task with goal pictures or goal pixels")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--image", type=Path, metavar="PNG", help="the goal picture")
    which.add_argument("--joints", type=numbers, metavar="Q1,Q2,...", help="a pose whose picture is drawn, rad")
    which.add_argument("--capture", action="store_true", help="drive the robot to the goal by keys, take its picture")
    which.add_argument("--pixel", type=pixel, metavar="U,V", help="what to move; with --to")
    command.add_argument("--to", type=pixel, metavar="U,V", help="where the pixel is to go")
    command.add_argument("--seed", type=int, default=0, help="which start (default 0)")
    robots.add_goal_arguments(command)
    command.set_defaults(command=_goal)

    robots.add_commands(commands)
    recordings.add_commands(commands)

    command = commands.add_parser("bench", help="quick ratios on this machine")
    command.add_argument(
        "what",
        nargs="?",
        default="all",
        choices=["all", "planning", "fitting", "loop", "rendering", "latent", "bus", "safety", "imports"],
        help="which (default all)",
    )
    command.add_argument("--csv", type=Path, default=Path("bench.csv"), help="where the table goes (default bench.csv)")
    command.set_defaults(command=_bench)
    return parser


def _list(given: argparse.Namespace) -> int:
    from robot_ctrl.catalogue import catalogue

    print(catalogue())
    return 0


def _run(given: argparse.Namespace) -> int:
    from robot_ctrl.build import resolve
    from robot_ctrl.run import start

    return start(resolve(given.task, given.overrides))


def _resume(given: argparse.Namespace) -> int:
    from robot_ctrl.run import resume

    return resume(given.run, given.overrides)


def _evaluate(given: argparse.Namespace) -> int:
    from robot_ctrl.evaluation import evaluate

    print(evaluate(given.run, given.episodes, given.seed))
    return 0


def _goal(given: argparse.Namespace) -> int:
    if (given.pixel is None) != (given.to is None):
        raise UserError("goal: --pixel says what to move and --to where: give both, or neither.")
    if given.robot is None and (given.port or given.camera or given.by_hand or given.no_park):
        raise UserError("goal: --port, --camera, --by-hand and --no-park go with --robot.")
    if given.pixel is not None and given.robot is not None:
        from robot_ctrl.goal_pixel_robot import goal_pixel_on_robot

        where = {"camera": given.camera, "port": given.port, "park": not given.no_park}
        print(goal_pixel_on_robot(given.run, given.robot, pixel=given.pixel, to=given.to, **where))
        return 0
    if given.pixel is not None:
        from robot_ctrl.goal_pixel import goal_pixel

        print(goal_pixel(given.run, pixel=given.pixel, to=given.to, seed=given.seed))
        return 0
    wanted = {"image": given.image, "joints": given.joints, "capture": given.capture, "seed": given.seed}
    if given.robot is not None:
        from robot_ctrl.goal_robot import goal_on_robot

        robot = {"by_hand": given.by_hand, "port": given.port, "camera": given.camera, "park": not given.no_park}
        print(goal_on_robot(given.run, given.robot, **wanted, **robot))
        return 0
    from robot_ctrl.goal import goal

    print(goal(given.run, **wanted))
    return 0


def _bench(given: argparse.Namespace) -> int:
    from robot_ctrl.bench import bench

    print(bench(given.what, given.csv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
