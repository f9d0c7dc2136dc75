"""Distributions below each other over one axis, each as high as its own peak allows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from hugbench.reporting.html.axes import Box, Scale, below, foot
from hugbench.reporting.html.svg import CHARACTER, Look, drawing, label, line, shape

WIDTH = 400.0
NAMES = 140.0
ROW = 34.0
SIZE = 12.0

Ridge = tuple[str, Look, Sequence[float]]
"""Name, look, and a number for each bin."""


def ridges(
    title: str, description: str, rows: Sequence[Ridge], edges: Sequence[float], axis: str, at: float | None
) -> Markup:
    """The chart.

    Args:
        title, description: for those who do not see it.
        rows: from top to bottom; the numbers of each are 0 or more.
        edges: of the bins, one more than these.
        axis: title of the horizontal axis.
        at: where a vertical line stands.
    """
    names = min(NAMES, 8 + CHARACTER * SIZE * max(len(name) for name, _, _ in rows))
    box = Box(names, 8, WIDTH - 12, 8 + ROW * len(rows))
    scale = Scale(edges[0], edges[-1], box.left + 6, box.right - 6)
    parts = [below(box, scale, axis)]
    if at is not None:
        parts.append(line((scale(at), box.top), (scale(at), box.bottom), class_="at"))
    for number, (name, look, heights) in enumerate(rows):
        base = box.top + (number + 1) * ROW - 3
        parts.append(label((names - 8, base - ROW / 2 + 5), name, names - 8, size=SIZE))
        parts.append(line((box.left, base), (box.right, base), class_="grid"))
        tallest = max(heights) or 1.0
        outline = [(scale(edges[0]), base)]
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            y = base - (ROW - 8) * height / tallest
            outline += [(scale(left), y), (scale(right), y)]
        outline.append((scale(edges[-1]), base))
        parts.append(shape(outline, fill=look.colour, fill_opacity=0.35, stroke=look.colour))
    return drawing(title, description, (WIDTH, box.bottom + foot(box, axis)), *parts)
