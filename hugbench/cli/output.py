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
    from hugbench.reporting.terminal import duration

    if as_json:
        print_json(report.to_json())
        return
    shown = report.entries if every_run else report.entries[:20]
    rows = [
        [
            e.planned.run.run_id,
            e.planned.label,
            e.planned.variant or "-",
            str(e.planned.run.seed),
            e.state,
            f"{e.epoch}/{e.planned.run.epochs}",
            e.error or "",
        ]
        for e in shown
    ]
    table(report.plan.suite, ["run", "criterion", "variant", "seed", "state", "epochs", "error"], rows)
    if len(shown) < len(report.entries):
        typer.echo(f"... and {len(report.entries) - len(shown)} more; `hugbench status` shows all")
    counts = ", ".join(f"{count} {state}" for state, count in report.counts().items())
    left = (
        "unknown until a run like these has finished an epoch"
        if report.seconds is None
        else f"about {duration(report.seconds)}"
    )
    typer.echo(f"{len(report.entries)} runs: {counts}; time left: {left}")


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
