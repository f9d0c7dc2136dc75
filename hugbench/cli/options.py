"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SuiteName = Annotated[str, typer.Argument(help="A suite: a YAML file, or the name of a shipped one.")]
Setting = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Override anything, e.g. recipe.epochs=2. Repeatable."),
]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="0,1,2", help="Instead of the suite's seeds.")]
Criteria = Annotated[
    list[str],
    typer.Option(
        "--criterion",
        metavar="NAME",
        help="Add a criterion: a name, a dotted path, FILE.py:Class or a baseline's FILE.yaml. Repeatable.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The data folder.",
        show_default="HUGBENCH_DATA, or data",
    ),
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="The results folder.")]
Smoke = Annotated[
    bool,
    typer.Option("--smoke", help="End to end with a sliver of data, one epoch, one seed, in RESULTS/smoke."),
]
AtATime = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Runs at a time, for the estimate.",
        show_default="as many as are under way, or 1",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NO_LIST: list[str] = []


def seeds_of(text: str | None) -> list[int] | None:
    """The seeds of `--seeds`.

    Raises:
        UserError: they are none.
    """
    return None if text is None else numbers_of(text, "--seeds", "seeds")


def numbers_of(text: str, option: str, what: str) -> list[int]:
    """Whole numbers with commas between, as an option takes them.

    Raises:
        UserError: they are none.
    """
    from hugbench.errors import UserError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"not {what}", where=option, found=text, expected="whole numbers and commas, e.g. 0,1,2"
        ) from None


def seconds_of(text: str, option: str) -> float:
    """The seconds of a time as an option takes it: a number of seconds, or with s, m, h or d behind it.

    Raises:
        UserError: it is none, or not positive.
    """
    from hugbench.errors import UserError

    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise UserError(
            "no time", where=option, found=text, expected="a positive time such as 90s, 30m or 12h"
        )
    return seconds
