"""Drawings that follow the page's colours: text, lines, markers, and the frame of an accessible figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hugbench.reporting.html.markup import Attribute, Paint, joined, short, tag

CHARACTER = 0.64
"""Width of a character in units of its size: that of a wide font, so that names fit in any."""

PALETTE = 7
"""How many colours the style sheet has, `--c0` and on."""

SHAPES = ("square", "diamond", "triangle", "cross", "wedge")
DASHES = (None, "6 3", "2 3", "8 3 2 3")

Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """How a series is told from others without its colour, too.

    Attributes:
        colour: a custom property of the style sheet.
        dash: of its lines; None for a solid one.
        shape: of its markers.
    """

    colour: str
    dash: str | None
    shape: str


BASELINE = Look("var(--ink)", None, "circle")


def looks(criteria: Sequence[str], baseline: str) -> dict[str, Look]:
    """A look for each criterion: the baseline in the colour of the text, the others all different."""
    others = [name for name in criteria if name != baseline]
    found = {
        name: Look(f"var(--c{place % PALETTE})", DASHES[place % len(DASHES)], SHAPES[place % len(SHAPES)])
        for place, name in enumerate(others)
    }
    return {name: BASELINE if name == baseline else found[name] for name in criteria}


def drawing(title: str, description: str, size: tuple[float, float], *parts: Markup) -> Markup:
    """An SVG that scales with its place, with a title and a description for those who do not see it."""
    width, height = size
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *parts,
        role="img",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {short(width)} {short(height)}",
        style=f"max-width:{short(1.15 * width)}px",
    )


def text(at: Point, words: str, *, anchor: str = "start", size: float = 12, **more: Attribute) -> Markup:
    """Words with their middle at a height; `anchor` is start, middle or end."""
    return tag(
        "text",
        words,
        x=at[0],
        y=at[1] + 0.35 * size,
        text_anchor=None if anchor == "start" else anchor,
        font_size=size,
        **more,
    )


def label(at: Point, name: str, width: float, *, size: float = 12) -> Markup:
    """A name that ends at a point, in as many lines as the width asks for, around its height."""
    lines = wrapped(name, int(width / (CHARACTER * size)))
    top = at[1] - 0.5 * 1.1 * size * (len(lines) - 1)
    return joined(
        [
            text((at[0], top + 1.1 * size * number), line, anchor="end", size=size)
            for number, line in enumerate(lines)
        ]
    )


def wrapped(name: str, columns: int) -> list[str]:
    """A name in lines of at most so many characters, broken behind punctuation where it can be."""
    lines = [""]
    for piece in _pieces(name):
        while len(lines[-1]) + len(piece.rstrip()) > columns:
            if lines[-1]:
                lines.append("")
            else:
                lines[-1], piece = piece[:columns], piece[columns:]
                lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines if line.strip()]


def line(start: Point, end: Point, **more: Attribute) -> Markup:
    """A straight line."""
    return tag("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], **more)


def path(points: Sequence[Point], *children: Markup, **more: Attribute) -> Markup:
    """A line through points."""
    return tag("path", *children, d=f"M{_steps(points)}", **more)


def shape(points: Sequence[Point], *children: Markup, **more: Attribute) -> Markup:
    """What points enclose."""
    return tag("path", *children, d=f"M{_steps(points)}Z", **more)


def marker(at: Point, look: Look, *, size: float = 4, hollow: bool = False, told: str = "") -> Markup:
    """A marker in a look's shape and colour; hollow ones show what is not to be relied on."""
    paint: Paint = {
        "fill": "var(--paper)" if hollow else look.colour,
        "stroke": look.colour,
        "stroke_width": 1.6 if hollow else 0.8,
    }
    children = [tag("title", told)] if told else []
    if look.shape == "circle":
        return tag("circle", *children, cx=at[0], cy=at[1], r=size, **paint)
    outline = [(at[0] + size * x, at[1] + size * y) for x, y in _OUTLINES[look.shape]]
    return shape(outline, *children, **paint)


def swatch(look: Look) -> Markup:
    """A look as a legend shows it: its line with its marker."""
    return tag(
        "svg",
        line((1, 6), (27, 6), stroke=look.colour, stroke_width=1.8, stroke_dasharray=look.dash),
        marker((14, 6), look),
        aria_hidden="true",
        viewBox="0 0 28 12",
        width="28",
        height="12",
    )


def _steps(points: Sequence[Point]) -> str:
    return "L".join(f"{short(x)} {short(y)}" for x, y in points)


def _pieces(name: str) -> list[str]:
    pieces = [""]
    for character in name:
        pieces[-1] += character
        if character in " _,-=[(":
            pieces.append("")
    return pieces


def _star(points: int, inner: float) -> list[Point]:
    steps = range(2 * points)
    radii = [1.2 if step % 2 == 0 else inner for step in steps]
    angles = [math.pi * step / points + math.pi / 4 for step in steps]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


_OUTLINES: dict[str, list[Point]] = {
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    "triangle": [(0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
    "wedge": [(0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
    "cross": _star(4, 0.45),
}
