"""`hugbench status --watch`: a suite's state while it changes, in a terminal, in lines or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hugbench.cli.output import counted, time_left

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hugbench.api import PlanEntry, PlanReport

MOST_FAILURES = 10
"""How many failed runs the picture names."""

Seen = dict[str, tuple[object, ...]]
"""State, epoch and holder of each run, by id."""


def watched(reports: Iterable[PlanReport], as_json: bool, console: Console) -> None:
    """Show each report: as a picture that is drawn anew, or what has changed, a line each.

    Args:
        reports: one after the other.
        as_json: a line of JSON for each report that differs from the one before.
        console: where to show them.
    """
    if as_json:
        _json_lines(reports)
    elif console.is_terminal and not console.is_dumb_terminal:
        _live(reports, console)
    else:
        _lines(reports)


def _live(reports: Iterable[PlanReport], console: Console) -> None:
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        for report in reports:
            live.update(picture(report), refresh=True)


def picture(report: PlanReport) -> RenderableType:
    """Bars: the runs of the suite, and below the epochs of each that someone is at."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bars = Table.grid(padding=(0, 2, 0, 0), expand=True)
    bars.add_column(no_wrap=True)
    bars.add_column(ratio=1)
    bars.add_column(no_wrap=True, justify="right")
    bars.add_column(no_wrap=True)
    total, done = len(report.entries), report.counts().get("done", 0)
    bars.add_row(report.plan.suite, ProgressBar(total, done), f"{done:,}/{total:,} runs", "")
    for entry in report.entries:
        if entry.holder is not None:
            epochs = entry.planned.run.epochs
            told = f"{entry.epoch}/{epochs} epochs"
            bars.add_row(Text(_name(entry)), ProgressBar(epochs, entry.epoch), told, Text(entry.holder))
    failed = [entry for entry in report.entries if entry.state == "failed"]
    lines = [Text(f"{_name(entry)}: {_failure(entry)}", style="bold red") for entry in failed[:MOST_FAILURES]]
    if len(failed) > MOST_FAILURES:
        lines.append(Text(f"... and {len(failed) - MOST_FAILURES} more failed", style="bold red"))
    return Group(bars, *lines, Text(_summary(report), style="dim"))


def _lines(reports: Iterable[PlanReport]) -> None:
    before: Seen | None = None
    for report in reports:
        now = _seen(report)
        if before is None:
            print(_summary(report), flush=True)
            changed = [entry for entry in report.entries if entry.holder is not None]
        else:
            changed = [e for e in report.entries if now[_id(e)] != before[_id(e)]]
        for entry in changed:
            print(_line(entry, report), flush=True)
        before = now


def _json_lines(reports: Iterable[PlanReport]) -> None:
    before: Seen | None = None
    for report in reports:
        now = _seen(report)
        if now != before:
            print(json.dumps(_state(report), ensure_ascii=False, allow_nan=False), flush=True)
        before = now


def _state(report: PlanReport) -> dict[str, Any]:
    """The report with the runs that someone is at instead of all."""
    told = report.to_json()
    return {**told, "runs": [run for run in told["runs"] if run["holder"] is not None]}


def _seen(report: PlanReport) -> Seen:
    return {_id(entry): (entry.state, entry.epoch, entry.holder) for entry in report.entries}


def _line(entry: PlanEntry, report: PlanReport) -> str:
    parts = [entry.state, f"epoch {entry.epoch}/{entry.planned.run.epochs}"]
    if entry.state == "failed":
        parts = [_failure(entry)]
    elif entry.state == "done":
        parts = ["done"]
    counts = report.counts()
    parts += [entry.holder] if entry.holder else []
    behind = f"[{counts.get('done', 0) + counts.get('failed', 0)}/{len(report.entries)}]"
    return f"{behind} {_name(entry)}: {', '.join(parts)}; time left: {time_left(report)}"


def _failure(entry: PlanEntry) -> str:
    return f"FAILED, {' '.join((entry.error or '').split())}"


def _summary(report: PlanReport) -> str:
    return f"{report.plan.suite}, {counted(report)}; time left: {time_left(report)}"


def _name(entry: PlanEntry) -> str:
    variant = f" ({entry.planned.variant})" if entry.planned.variant else ""
    return f"{entry.planned.label}{variant}, seed {entry.planned.run.seed}"


def _id(entry: PlanEntry) -> str:
    return entry.planned.run.run_id
