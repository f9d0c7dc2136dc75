"""Whether this process is one of several that torchrun, or a job of several tasks, has started."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from hugbench.errors import UserError

VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells the processes that it starts."""

HELD_BACK = 3.0
"""Seconds for which others than the first put off an end with an error that they did not meet to tell."""


@dataclass(frozen=True)
class Processes:
    """This process among those that carry out one command.

    Attributes:
        count: of all.
        rank: this one's number; the first, 0, drives.
        here: how many are on this machine.
        place: this one's number among those.
    """

    count: int = 1
    rank: int = 0
    here: int = 1
    place: int = 0


def processes() -> Processes:
    """What the environment says; a process without WORLD_SIZE, or whose WORLD_SIZE is 1, is alone.

    Raises:
        UserError: a variable is missing, or no number in its range.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Processes()
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise UserError(
            f"{', '.join(missing)} not set",
            where="WORLD_SIZE",
            found=os.environ["WORLD_SIZE"],
            expected="all that torchrun sets, or no WORLD_SIZE for a process of its own",
        )
    count, here = _number("WORLD_SIZE", 1), _number("LOCAL_WORLD_SIZE", 1)
    return Processes(count, _number("RANK", 0, count), here, _number("LOCAL_RANK", 0, here))


def speaks() -> bool:
    """Whether this process prints: the first of several does."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def hold_back() -> None:
    """Leave the first process time for its words: torchrun ends all as soon as one has failed."""
    if not speaks():
        time.sleep(HELD_BACK)


def _number(name: str, least: int, below: int | None = None) -> int:
    """A variable as a whole number."""
    text = os.environ[name]
    if not text.isdecimal() or int(text) < least or (below is not None and int(text) >= below):
        least_and_most = f"from {least} to {below - 1}" if below is not None else f"of at least {least}"
        raise UserError(
            "not a valid value", where=name, found=text, expected=f"a whole number {least_and_most}"
        )
    return int(text)
