"""A row for each criterion: its mean as a marker, the interval as a line, a small dot for every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hugbench.reporting.html.axes import Box, Scale, below, foot, reaching
from hugbench.reporting.html.markup import Paint, joined, tag
from hugbench.reporting.html.svg import CHARACTER, Look, drawing, label, line, marker, wrapped

WIDTH = 400.0
NAMES = 140.0
SIZE = 12.0
AROUND = 12.0


@dataclass(frozen=True)
class Dot:
    """A mean with its interval and the values behind it, in the unit of the axis.

    Attributes:
        name: stands before the row.
        look: of the marker.
        mean: None where there is no number; the row stays empty.
        low, high: of the interval; None without one.
        points: the value of each seed.
        hollow: not to be relied on.
        told: what the marker says when pointed at.
    """

    name: str
    look: Look
    mean: float | None
    low: float | None = None
    high: float | None = None
    points: tuple[float, ...] = ()
    hollow: bool = False
    told: str = ""


def dots(
    title: str,
    description: str,
    rows: Sequence[Dot],
    axis: str,
    *,
    at: float | None = None,
    around: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """The chart.

    Args:
        title, description: for those who do not see it.
        rows: from top to bottom; at least one has a mean.
        axis: title of the horizontal axis.
        at: where a vertical line stands, such as at the baseline's mean or at 0.
        around: half-width of a band around it.
        limits: smallest and largest number that there can be.
    """
    names = min(NAMES, 8 + CHARACTER * SIZE * max(len(row.name) for row in rows))
    heights = [
        max(24.0, 8 + 1.1 * SIZE * len(wrapped(row.name, int((names - 8) / (CHARACTER * SIZE)))))
        for row in rows
    ]
    box = Box(names, 6, WIDTH - AROUND, 6 + sum(heights))
    scale = _scale(rows, box, at, around, limits)
    parts = [below(box, scale, axis)]
    if at is not None:
        if around:
            left, right = scale.inside(at - around), scale.inside(at + around)
            parts.append(
                tag("rect", x=left, y=box.top, width=right - left, height=sum(heights), class_="band")
            )
        x = scale.inside(at)
        parts.append(line((x, box.top), (x, box.bottom), class_="at"))
    top = box.top
    for row, height in zip(rows, heights, strict=True):
        parts += [label((names - 8, top + height / 2), row.name, names - 8, size=SIZE)]
        parts += _row(row, scale, top + height / 2)
        top += height
    return drawing(title, description, (WIDTH, box.bottom + foot(box, axis)), *parts)


def _scale(
    rows: Sequence[Dot],
    box: Box,
    at: float | None,
    around: float | None,
    limits: tuple[float, float] | None,
) -> Scale:
    values = [value for row in rows for value in (row.mean, *row.points) if value is not None]
    if at is not None:
        values += [at - (around or 0), at + (around or 0)]
    ends = [value for row in rows for value in (row.low, row.high) if value is not None]
    return Scale(*reaching(values, ends, limits), box.left + AROUND, box.right - AROUND)


def _row(row: Dot, scale: Scale, y: float) -> list[Markup]:
    if row.mean is None:
        return []
    paint: Paint = {"stroke": row.look.colour, "stroke_width": 1.8}
    parts = []
    if row.low is not None and row.high is not None:
        parts.append(line((scale.inside(row.low), y), (scale.inside(row.high), y), **paint))
        parts += [_end(scale, end, y, row.look.colour) for end in (row.low, row.high)]
    seeds = [
        tag("circle", cx=scale(value), cy=y + 7, r=1.7, fill=row.look.colour, fill_opacity=0.55)
        for value in row.points
    ]
    return [*parts, joined(seeds), marker((scale(row.mean), y), row.look, hollow=row.hollow, told=row.told)]


def _end(scale: Scale, end: float, y: float, colour: str) -> Markup:
    """The end of an interval: a stroke, or an arrow where it goes on beyond the chart."""
    x = scale.inside(end)
    paint: Paint = {"fill": "none", "stroke": colour, "stroke_width": 1.8}
    if scale.low <= end <= scale.high:
        return line((x, y - 3), (x, y + 3), **paint)
    back = 5 if end < scale.low else -5
    return tag("path", d=f"M{x + back:.1f} {y - 4:.1f}L{x:.1f} {y:.1f}L{x + back:.1f} {y + 4:.1f}", **paint)
