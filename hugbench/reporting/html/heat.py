"""A grid of numbers as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hugbench.reporting.html.markup import Paint, joined, tag
from hugbench.reporting.html.svg import CHARACTER, drawing, label, text

WIDTH = 300.0
SIZE = 11.0
DEEPEST = 0.6
"""Opacity of the strongest colour: text on it stays readable, light and dark."""


@dataclass(frozen=True)
class Grid:
    """Numbers by row and column.

    Attributes:
        rows, columns: their names.
        values: by row; None where there is none.
        strongest: the absolute number that has the strongest colour.
        digits: behind the point of what is written in a cell.
        across, down: titles of the columns and the rows.
        signed: negative numbers have a colour of their own.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    strongest: float
    digits: int = 0
    across: str = ""
    down: str = ""
    signed: bool = False


def heat(title: str, description: str, grid: Grid) -> Markup:
    """The grid; numbers are written in the cells where they fit."""
    names = 10 + CHARACTER * SIZE * max(map(len, [grid.down, *grid.rows]))
    names = min(names, 0.45 * WIDTH)
    top = 34.0 if grid.across else 18.0
    side = (WIDTH - names - 2) / len(grid.columns)
    height = min(side, 30.0) if len(grid.rows) > 10 or side < 30 else 30.0
    written = side - 3 >= CHARACTER * 9.5 * _longest(grid)
    parts = [text((names + 0.5 * side * len(grid.columns), 8), grid.across, anchor="middle", size=SIZE)]
    parts += [text((names - 5, top - 9), grid.down, anchor="end", size=SIZE, class_="quiet")]
    step = 1 + int(len(grid.columns) * CHARACTER * SIZE * max(map(len, grid.columns)) / (WIDTH - names))
    for number in range(0, len(grid.columns), step):
        at = (names + (number + 0.5) * side, top - 9)
        parts.append(text(at, grid.columns[number], anchor="middle", size=SIZE, class_="quiet"))
    every = max(1, round(13 / height))
    for row, (name, values) in enumerate(zip(grid.rows, grid.values, strict=True)):
        y = top + row * height
        if row % every == 0:
            parts.append(label((names - 5, y + height / 2), name, names - 5, size=SIZE))
        parts += [
            _cell(grid, value, (names + column * side, y), (side, height), written)
            for column, value in enumerate(values)
        ]
    return drawing(title, description, (WIDTH, top + len(grid.rows) * height + 2), *parts)


def _cell(
    grid: Grid, value: float | None, at: tuple[float, float], size: tuple[float, float], written: bool
) -> Markup:
    (x, y), (width, height) = at, size
    place: Paint = {"x": x, "y": y, "width": width - 1, "height": height - 1}
    middle = (x + width / 2 - 0.5, y + height / 2 - 0.5)
    if value is None:
        return joined([tag("rect", **place, class_="empty"), text(middle, "–", anchor="middle", size=9.5)])
    strength = min(1.0, abs(value) / grid.strongest) if grid.strongest else 0.0
    paint = "var(--less)" if grid.signed and value < 0 else "var(--more)"
    cell = tag("rect", **place, fill=paint, fill_opacity=f"{max(0.03, DEEPEST * strength):.2f}")
    return joined([cell, text(middle, _text(grid, value), anchor="middle", size=9.5)]) if written else cell


def _text(grid: Grid, value: float) -> str:
    shown = f"{value:{'+' if grid.signed else ''}.{grid.digits}f}"
    return shown.replace("-", "−")


def _longest(grid: Grid) -> int:
    return max((len(_text(grid, v)) for row in grid.values for v in row if v is not None), default=1)
