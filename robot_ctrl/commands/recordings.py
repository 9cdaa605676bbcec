"""The commands about recorded episodes."""

import argparse
from pathlib import Path
from typing import Any

from robot_ctrl.commands.arguments import Run, add_command
from robot_ctrl.errors import UserError


def add_commands(commands: Any) -> None:
    """Add the commands about recorded episodes."""

    def add(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        command = add_command(commands, name, run, text)
        command.add_argument("episode", type=Path, metavar="RUN_OR_EPISODE", help="a run folder or an .mcap file")
        command.add_argument("--number", type=int, metavar="N", help="which episode of a run folder")
        return command

    command = add("view", _view, "a page about an episode")
    command.add_argument("--out", type=Path, help="where the page goes (default beside the episode)")
    command = add("replay", _replay, "send a recorded episode to a simulated robot")
    command.add_argument("--task", help="whose robot to take, where the recording does not say")
    command.add_argument("--video", type=Path, metavar="MP4", help="film it")
    command = add("export", _export, "episodes in another format")
    command.add_argument("--format", required=True, choices=["csv", "lerobot", "rerun"], help="which")
    command.add_argument("--out", type=Path, help="the file, or LeRobot's folder")

    command = add_command(commands, "recover", _recover, "mend an episode file that was cut off")
    command.add_argument("episode", type=Path, metavar="EPISODE", help="an .mcap file")


def _view(given: argparse.Namespace) -> int:
    from robot_ctrl.view import view

    print(f"the page is {view(given.episode, given.out, number=given.number)}")
    return 0


def _replay(given: argparse.Namespace) -> int:
    from robot_ctrl.replay import replay

    print(replay(given.episode, number=given.number, task=given.task, video=given.video))
    return 0


def _export(given: argparse.Namespace) -> int:
    from robot_ctrl.export import export

    print(f"written to {export(given.episode, given.format, given.out, number=given.number)}")
    return 0


def _recover(given: argparse.Namespace) -> int:
    from robot_ctrl.episodes import recover_episode

    try:
        backup = recover_episode(given.episode)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"{given.episode} was whole." if backup is None else f"{given.episode} is mended; the original is {backup}.")
    return 0
