"""What arguments share."""

import argparse
from collections.abc import Callable
from typing import Any

Run = Callable[[argparse.Namespace], int]
"""Carries a command out; returns the exit status."""


def add_command(commands: Any, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    """A command with its one line of help."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)
    command.set_defaults(command=run)
    return command


def positive(text: str) -> int:
    """A whole number from 1 on.

    Raises:
        ArgumentTypeError: if it is not positive.
        ValueError: if it is no whole number.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be 1 or more")
    return number


def numbers(text: str) -> list[float]:
    """Numbers between commas; after ``--option=`` the first may be negative.

    Raises:
        ValueError: if one is no number.
    """
    return [float(part) for part in text.split(",")]


def pixel(text: str) -> tuple[float, float]:
    """A place in a picture: columns from the left, rows from the top.

    Raises:
        ArgumentTypeError: if these are not two numbers.
        ValueError: if one is no number.
    """
    place = numbers(text)
    if len(place) != 2:
        raise argparse.ArgumentTypeError(f"{text!r}: give two numbers, U,V")
    return place[0], place[1]
