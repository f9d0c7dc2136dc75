"""Plain tables and numbers as a person reads them, in a terminal or a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hugbench.results.statistics import Interval

_FRACTIONS = {
    "error",
    "expected_calibration_error",
    "expected_calibration_error_equal_mass",
    "auroc",
    "fpr_at_95_tpr",
    "aupr_in",
    "aupr_out",
    "mean_corruption_error",
    "forgetting",
    "forgetting_initial",
    "backward_transfer",
    "forward_transfer",
}

WHOLE_WIDTH = 40
"""A first column up to this wide is never broken: names stay whole for searching and copying."""


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def is_fraction(metric: str) -> bool:
    """Whether a metric lies in [0, 1], so that reports give it in per cent."""
    name = metric.rpartition(".")[2].removesuffix("_calibrated")
    return name.endswith(("accuracy", "agreement", "agreement_on_sphere")) or name in _FRACTIONS


def mean_and_half_width(interval: Interval | None, scale: float) -> str:
    """A mean over seeds and the half-width of its interval; a dash where there is none."""
    if interval is None:
        return "-"
    digits = 2 if scale == 100 else 3
    half = "" if interval.half_width is None else f" ± {scale * interval.half_width:.{digits}f}"
    return f"{scale * interval.mean:.{digits}f}{half}"


def metric_value(metric: str, value: float) -> str:
    """A value as reports show it: in per cent if it is a fraction."""
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}"


def simple_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """A plain table: cells as they are (no markup), numbers to the right, nothing cut off.

    Args:
        title: stands above it; may be empty.
        columns: the headers; there is no header line if all are empty.
        rows: one cell per column; None is an empty cell.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    table = plain_table()
    table.show_header = any(columns)
    for index, name in enumerate(columns):
        column = [row[index] for row in cells]
        justify: Literal["left", "right"] = "right" if _numeric(column) else "left"
        whole = index == 0 and max(map(len, column), default=0) <= WHOLE_WIDTH
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=whole)
    for row in cells:
        table.add_row(*map(Text, row))
    return Group(Text(title, style="bold"), table) if title else table


def records_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The flat records, with what is the same in all of them said once above the table."""
    if not rows:
        return Text("no records yet")
    names = [name for name in rows[0] if name != "run_id"]
    varying = [n for n in names if n in ("value", "n") or len({row[n] for row in rows}) > 1]
    same = [f"{n} {rows[0][n]}" for n in names if n not in varying and rows[0][n] not in (None, "")]
    cells = [[_cell(row[name]) for name in varying] for row in rows]
    return Group(Text(", ".join(same), style="dim"), simple_table("", varying, cells))


def plain_table() -> Table:
    """An empty table in the style of all: a line under the header, no other."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")


class CriteriaTable(Table):
    """A plain table whose first column names criteria.

    Names of up to 24 characters stay whole, but in a terminal of less than 72, where numbers matter more.

    Args:
        first: header of the names.
        numbers: headers of the columns of numbers; where the table is too wide, the widest wraps first.
    """

    WHOLE, NARROW = 24, 72

    def __init__(self, first: str, numbers: Iterable[str]) -> None:
        super().__init__(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        self.add_column(Text(first), overflow="fold")
        for name in numbers:
            self.add_column(Text(name), justify="right", overflow="fold")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = self.columns[0]
        longest = max(len(str(cell)) for cell in names.cells) if self.row_count else 0
        names.no_wrap = options.max_width >= self.NARROW and longest <= self.WHOLE
        yield from super().__rich_console__(console, options)


def criteria_table(numbers: Iterable[str]) -> Table:
    """A table of criteria with columns of numbers."""
    return CriteriaTable("criterion", numbers)


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _numeric(column: Iterable[str]) -> bool:
    """Whether a column holds numbers and empty cells only."""
    filled = [cell for cell in column if cell]
    return bool(filled) and all(re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?%)?", cell) for cell in filled)
