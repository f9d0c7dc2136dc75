"""What verbs print: tables, progress, JSON."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hugbench.api import PlanReport


def progress(report: PlanReport, as_json: bool, *, every_run: bool) -> None:
    """Print a plan, its runs and how far they are."""
    if as_json:
        print_json(report.to_json())
        return
    shown = report.entries if every_run else report.entries[:20]
    held = any(entry.holder for entry in shown)
    rows = [
        [
            e.planned.run.run_id,
            e.planned.label,
            e.planned.variant or "-",
            str(e.planned.run.seed),
            e.state,
            f"{e.epoch}/{e.planned.run.epochs}",
            e.error or "",
            *([e.holder or ""] if held else []),
        ]
        for e in shown
    ]
    columns = ["run", "criterion", "variant", "seed", "state", "epochs", "error"]
    table(report.plan.suite, [*columns, "at it"] if held else columns, rows)
    if len(shown) < len(report.entries):
        typer.echo(f"... and {len(report.entries) - len(shown)} more; `hugbench status` shows all")
    typer.echo(f"{counted(report)}; time left: {time_left(report)}")


def counted(report: PlanReport) -> str:
    """How many runs there are, and in each state."""
    counts = ", ".join(f"{count} {state}" for state, count in report.counts().items())
    count = len(report.entries)
    return f"{count} run{'' if count == 1 else 's'}: {counts}"


def time_left(report: PlanReport) -> str:
    """The estimate in words."""
    from hugbench.reporting.terminal import duration

    if report.seconds is None:
        return "unknown until a run like these has finished an epoch"
    at_a_time = f" with {report.workers} runs at a time" if report.workers > 1 else ""
    beside = f", and {' and '.join(report.untimed)}, not timed so far" if report.untimed else ""
    return f"about {duration(report.seconds)}{at_a_time}{beside}"


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a plain table."""
    from rich.console import Console

    from hugbench.reporting.tables import simple_table

    Console().print(simple_table(title, columns, rows))


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, an interruption is a sentence and exit code 130; Typer would leave it at the code."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from what is finished", err=True)
        raise typer.Exit(130) from None


@contextmanager
def kept_for_json(as_json: bool) -> Iterator[None]:
    """Inside, where JSON is asked for, what is printed goes to standard error: from a loss, from C, too."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(stdout, 1)
        os.close(stdout)


def print_json(value: Any) -> None:
    """Print JSON, indented."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
