"""What a person sees while a suite runs: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hugbench.execution.events import EpochDone, Event, Notice, RunDone, RunFailed, RunStarted
from hugbench.reporting.progress import Progress, figures, in_words
from hugbench.reporting.tables import duration

LINE_SECONDS = 10.0
"""Plain lines tell of epochs at most this often."""

OTHER_LINES = 4
"""Of a terminal, beside runs' bars: the suite's bar, how many are not shown, the time left, the cursor."""


class PlainLines:
    """One line for everything that happens, for logs and pipes; epochs at most every ten seconds.

    A context manager, like `LiveDisplay`, that holds nothing.

    Args:
        console: where to print.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._progress = Progress()
        self._epoch_told = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Print what there is to say of an event."""
        self._progress.note(event)
        if isinstance(event, EpochDone | RunStarted):
            if isinstance(event, EpochDone) and self._clock() - self._epoch_told < LINE_SECONDS:
                return
            self._epoch_told = self._clock()
        if line := in_words(event, self._progress):
            self._console.print(Text(line), soft_wrap=True)


class LiveDisplay:
    """Bars at the bottom of a terminal, above which the finished runs scroll by.

    A context manager: the bars are there inside it and leave no trace. As a renderable it is the
    picture of the moment.

    Args:
        console: a terminal.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._progress = Progress()
        self._left: tuple[float, float] | None = None
        self._live = Live(self, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Move the bars, and print what should stay on the screen."""
        self._progress.note(event)
        left = self._progress.seconds_left()
        self._left = None if left is None else (self._clock(), left)
        if not isinstance(event, EpochDone | RunStarted) and (line := in_words(event, self._progress)):
            self._console.print(Text(line, style=_style(event)))

    def __rich__(self) -> RenderableType:
        suite = self._progress.suite
        if suite is None:
            return Text("preparing data and models ...", style="dim")
        if not suite.pending:
            return Text()
        bars = Table.grid(padding=(0, 2, 0, 0), expand=True)
        bars.add_column(no_wrap=True)
        bars.add_column(ratio=1)
        bars.add_column(no_wrap=True, justify="right")
        _add_bar(bars, suite.suite, self._progress.behind, suite.total, "runs")
        running = list(self._progress.running.values())
        shown = running[: max(1, self._console.size.height - OTHER_LINES)]
        for run in shown:
            loss = f"loss {run.last.loss:.4g}   " if run.last and len(running) > 1 else ""
            _add_bar(bars, run.name, run.done, run.epochs, "epochs", loss)
        lines = [figures(run.last) for run in running if run.last] if len(running) == 1 else []
        if len(shown) < len(running):
            lines.append(f"and {len(running) - len(shown)} more")
        return Group(bars, *[Text(line, style="dim") for line in [*lines, self._time_left()]])

    def _time_left(self) -> str:
        """The estimate of the last event, less the time since."""
        if self._left is None:
            return "time left: known after the first epoch"
        told, estimate = self._left
        left = estimate - (self._clock() - told)
        return f"about {duration(left)} left" if left >= 1 else "any moment now"


def observer(stream_is_terminal: bool, console: Console) -> LiveDisplay | PlainLines:
    """The observer for a stream, a context manager: bars where the terminal can, else plain lines."""
    live = stream_is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console) if live else PlainLines(console)


def _add_bar(bars: Table, name: str, done: int, total: int, unit: str, before: str = "") -> None:
    bars.add_row(Text(name), ProgressBar(total=total, completed=done), Text(f"{before}{done}/{total} {unit}"))


def _style(event: Event) -> str:
    match event:
        case RunFailed():
            return "bold red"
        case Notice():
            return "yellow"
        case RunDone():
            return ""
        case _:
            return "dim"
