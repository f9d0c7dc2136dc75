"""Features of two dimensions by their directions: one circle for each criterion and split.

On the circle the direction of every image's features, in the colour of its class; outside it how many
there are in each direction, by class; inside it a ray for each proxy, and a ring for each class mean.
Features of length zero have no direction and are not shown.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (
    "#332288", "#88ccee", "#117733", "#ddcc77", "#cc6677",
    "#aa4499", "#44aa99", "#999933", "#882255", "#aaaaaa",
)  # fmt: skip
"""Colours that differ also to the colour-blind: Paul Tol's muted scheme, and a grey."""

SPLITS = {"train": "training images", "test": "test images"}
MOST_COLUMNS = 5
MOST_NAMES, LONGEST = 20, 16
PANEL, LEFT, ABOVE = 2.6, 0.35, 0.7
"""Inches: a side of a panel, and the margins."""

ENTRY, LINE = 1.4, 0.2
"""Inches: width and height of an entry of the legend."""

BARS = 120
FIRST, TALLEST, EDGE = 1.06, 0.42, 1.52
"""Radii: where the bars begin, their greatest height, the edge of a panel."""

OUTSIDE = "Outside the circle: the square root of the number of images in a direction, classes stacked"

Array = np.ndarray[Any, Any]
Table = Mapping[str, Array]


def circles(title: str, arms: Mapping[str, Table | None]) -> Figure:
    """A figure with a column per criterion (five at most, then further down) and a row per split.

    Args:
        title: of the whole.
        arms: by label the columns kind (image, mean, proxy), split (train, test), target, prediction,
            norm, x0, x1 and class_name that the evaluation `collapse` stores; None where there are none.
    """
    from matplotlib.figure import Figure

    known = [table for table in arms.values() if table is not None]
    splits = [split for split in SPLITS if any((table["split"] == split).any() for table in known)]
    columns = min(len(arms), MOST_COLUMNS)
    rows = math.ceil(len(arms) / columns) * len(splits)
    width = PANEL * columns + LEFT
    names = _class_names(known)
    entries = max(1, int(width / ENTRY))
    below = LINE * (math.ceil((len(names) + 3) / entries) + 2)
    height = PANEL * 1.06 * rows + ABOVE + below
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        LEFT / width, below / height, 1 - 0.05 / width, 1 - ABOVE / height, wspace=0.02, hspace=0.06
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (label, table) in enumerate(arms.items()):
        band, column = divmod(place, columns)
        for row, split in enumerate(splits):
            axes = grid[band * len(splits) + row, column]
            _frame(axes, label if row == 0 else "", SPLITS[split] if column == 0 else "")
            if table is None:
                axes.text(0, 0, "not finished", ha="center", va="center", color="0.4")
            else:
                _panel(axes, table, split)
    fitting = textwrap.fill(title, int(13 * width))
    figure.suptitle(fitting, fontsize=11, y=1 - 0.12 / height, va="top")
    _legend(figure, names, entries, textwrap.fill(OUTSIDE, int(17 * width)))
    return figure


def _frame(axes: Axes, title: str, side: str) -> None:
    """An empty panel: the circle, and what it is of."""
    from matplotlib.patches import Circle

    axes.set_aspect("equal")
    axes.set_xlim(-EDGE, EDGE)
    axes.set_ylim(-EDGE, EDGE)
    axes.set_title(title, fontsize=10, fontweight="bold", pad=3)
    axes.text(-EDGE - 0.1, 0, side, rotation=90, ha="center", va="center")
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.75", linewidth=0.6, zorder=1))


def _panel(axes: Axes, table: Table, split: str) -> None:
    """Images, their histogram, proxies and class means of one split."""
    images = (table["kind"] == "image") & (table["split"] == split) & (table["norm"] > 0)
    targets, angles = table["target"][images], _angles(table, images)
    order = np.random.default_rng(0).permutation(len(angles))  # so that no class hides another
    axes.scatter(
        np.cos(angles[order]),
        np.sin(angles[order]),
        s=5,
        c=[_colour(label) for label in targets[order]],
        alpha=float(np.clip(400 / max(1, len(angles)), 0.03, 0.6)),
        linewidths=0,
        rasterized=True,
        zorder=3,
    )
    _histogram(axes, angles, targets)
    _rays(axes, table)
    means = (table["kind"] == "mean") & (table["split"] == split) & (table["norm"] > 0)
    for angle, label in zip(_angles(table, means), table["target"][means], strict=True):
        axes.plot(*_point(1, angle), "o", ms=5, mfc=_colour(label), mec="black", mew=0.8, zorder=6)
    right = (
        f"{100 * float((table['prediction'][images] == targets).mean()):.1f} %" if len(targets) else "none"
    )
    axes.text(0, -EDGE, f"{right} of {len(targets):,} right", ha="center", va="top", fontsize=8)


def _histogram(axes: Axes, angles: Array, targets: Array) -> None:
    """How many images point where: bars outside the circle, the classes stacked."""
    from matplotlib.collections import PolyCollection

    edges = np.linspace(-math.pi, math.pi, BARS + 1)
    classes = np.unique(targets)
    counts = [np.histogram(angles[targets == label], edges)[0] for label in classes]
    tops = np.sqrt(np.cumsum(counts, axis=0)) if counts else np.zeros((0, BARS))
    radii = FIRST + TALLEST * tops / max(1.0, tops.max(initial=0))
    inner = np.full(BARS, FIRST)
    for label, outer in zip(classes, radii, strict=True):
        bars = [
            [
                _point(r, edges[k + side])
                for r, side in ((inner[k], 0), (inner[k], 1), (outer[k], 1), (outer[k], 0))
            ]
            for k in np.flatnonzero(outer > inner)
        ]
        axes.add_collection(PolyCollection(bars, facecolors=_colour(label), linewidths=0, zorder=2))
        inner = outer


def _rays(axes: Axes, table: Table) -> None:
    """A ray for each proxy, with the number of its class; numbers that would overlap are moved apart."""
    proxies = (table["kind"] == "proxy") & (table["norm"] > 0)
    angles, labels = _angles(table, proxies), table["target"][proxies]
    for angle, place, label in zip(angles, apart(angles, math.radians(21)), labels, strict=True):
        colour, tip, text = _colour(label), _point(0.93, angle), _point(0.68, place)
        axes.plot([0, tip[0]], [0, tip[1]], color=colour, linewidth=1.8, solid_capstyle="round", zorder=4)
        axes.plot([text[0], tip[0]], [text[1], tip[1]], color=colour, linewidth=0.6, zorder=4)
        frame = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
        axes.text(*text, str(label), ha="center", va="center", fontsize=7.5, bbox=frame, zorder=5)


def apart(angles: Sequence[float] | Array, gap: float) -> list[float]:
    """Directions moved until neighbours on the circle are `gap` apart, a thousandth of it aside.

    Args:
        angles: radians.
        gap: radians; where not all fit, they are spread evenly.
    """
    count = len(angles)
    order = sorted(range(count), key=lambda k: angles[k])
    moved = [float(angles[k]) for k in order]
    gap = min(gap, 2 * math.pi / max(1, count))
    for _ in range(1000):
        widest = 0.0
        for k in range(count if count > 1 else 0):
            turn = 2 * math.pi if k == count - 1 else 0.0
            push = (gap - (moved[(k + 1) % count] + turn - moved[k])) / 2
            if push > 0:
                moved[k] -= push
                moved[(k + 1) % count] += push
            widest = max(widest, push)
        if widest < gap / 2000:
            break
    found = dict(zip(order, moved, strict=True))
    return [found[k] for k in range(count)]


def _legend(figure: Figure, names: Mapping[int, str], columns: int, title: str) -> None:
    """The colours of the classes, and the signs."""
    from matplotlib.lines import Line2D

    colours = [
        Line2D([], [], ls="", marker="s", ms=7, color=_colour(label), label=name)
        for label, name in names.items()
    ]
    signs = [
        Line2D([], [], color="0.3", linewidth=1.8, label="proxy"),
        Line2D([], [], ls="", marker="o", ms=5, mfc="0.8", mec="black", mew=0.8, label="class mean"),
        Line2D([], [], ls="", marker=".", ms=4, color="0.5", label="image"),
    ]
    figure.legend(
        handles=[*colours, *signs],
        loc="lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        title=title,
        title_fontsize=8,
    )


def _class_names(tables: Sequence[Table]) -> dict[int, str]:
    """Number and name of the classes that appear, by label; none where a legend cannot hold them."""
    names: dict[int, str] = {}
    for table in tables:
        labels, first = np.unique(table["target"], return_index=True)
        names |= {int(label): str(table["class_name"][k]) for label, k in zip(labels, first, strict=True)}
    if len(names) > MOST_NAMES:
        return {}
    return {
        label: name
        if name == str(label)
        else f"{label} {name if len(name) <= LONGEST else name[: LONGEST - 1] + '…'}"
        for label, name in sorted(names.items())
    }


def _angles(table: Table, rows: Array) -> Array:
    angles: Array = np.arctan2(table["x1"][rows], table["x0"][rows])
    return angles


def _point(radius: float, angle: float) -> tuple[float, float]:
    return radius * math.cos(angle), radius * math.sin(angle)


def _colour(label: int) -> str:
    return PALETTE[int(label) % len(PALETTE)]
