"""A bar for each criterion, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from hugbench.reporting.html.axes import Box, Scale, below, foot
from hugbench.reporting.html.dots import Dot
from hugbench.reporting.html.markup import Paint, tag
from hugbench.reporting.html.svg import CHARACTER, drawing, label, line, text

WIDTH = 300.0
ROW = 22.0
SIZE = 11.0


def bars(title: str, description: str, rows: Sequence[Dot], axis: str, highest: float) -> Markup:
    """The chart; all bars begin at 0.

    Args:
        title, description: for those who do not see it.
        rows: from top to bottom; a mean is 0 or more.
        axis: title of the horizontal axis.
        highest: end of the axis.
    """
    names = min(0.42 * WIDTH, 8 + CHARACTER * SIZE * max(len(row.name) for row in rows))
    box = Box(names, 4, WIDTH - 42, 4 + ROW * len(rows))
    scale = Scale(0, highest, box.left, box.right)
    parts = [below(box, scale, axis)]
    for number, row in enumerate(rows):
        y = box.top + (number + 0.5) * ROW
        parts.append(label((names - 6, y), row.name, names - 6, size=SIZE))
        if row.mean is None:
            continue
        width = scale.inside(row.mean) - box.left
        bar: Paint = {"x": box.left, "y": y - 7, "width": width, "height": 14}
        parts.append(tag("rect", tag("title", row.told), **bar, fill=row.look.colour, fill_opacity=0.75))
        if row.low is not None and row.high is not None:
            ends = scale.inside(row.low), scale.inside(row.high)
            parts.append(line((ends[0], y), (ends[1], y), stroke="var(--ink)", stroke_width=1.4))
        parts.append(text((WIDTH, y), f"{row.mean:.1f}", anchor="end", size=SIZE))
    return drawing(title, description, (WIDTH, box.bottom + foot(box, axis)), *parts)
