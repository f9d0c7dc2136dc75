"""Curves over one axis, with bars or bands for their spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from hugbench.reporting.html.axes import Box, Scale, below, beside, reaching
from hugbench.reporting.html.markup import Paint, joined
from hugbench.reporting.html.svg import Look, drawing, line, marker, path, shape

WIDTH, HEIGHT = 400.0, 270.0
APART = 2.5


class Spot(NamedTuple):
    """A point of a curve: where, its mean, its spread (None without one), and whether it is unreliable."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    told: str = ""


@dataclass(frozen=True)
class Curve:
    """A named curve; neighbouring spots are joined."""

    name: str
    look: Look
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class Axes:
    """What the axes of a chart say.

    Attributes:
        across, up: their titles.
        places: (value, label) of the horizontal ticks; round numbers without.
        limits: smallest and largest number that the vertical axis can have.
        span: its range, where several charts share one; else what the curves need.
    """

    across: str
    up: str
    places: tuple[tuple[float, str], ...] | None = None
    limits: tuple[float, float] | None = None
    span: tuple[float, float] | None = None


def lines(
    title: str,
    description: str,
    curves: Sequence[Curve],
    axes: Axes,
    *,
    bands: bool = False,
    size: tuple[float, float] = (WIDTH, HEIGHT),
) -> Markup:
    """The chart.

    Args:
        title, description: for those who do not see it.
        curves: at least one spot in all.
        axes: what they say.
        bands: the spread as a band, with a marker at the end only: for many spots; else as bars with markers.
        size: in units of the drawing.
    """
    width, height = size
    box = Box(42, 26, width - 10, height - 38)
    across = Scale(*_across(curves, axes), box.left + 10, box.right - 10)
    up = Scale(*(axes.span or span_of(curves, axes.limits)), box.bottom, box.top)
    parts = [below(box, across, axes.across, axes.places), beside(box, up, axes.up)]
    middle = (len(curves) - 1) / 2
    for number, curve in enumerate(curves):
        parts += _band(curve, across, up) if bands else _bars(curve, across, up, APART * (number - middle))
    return drawing(title, description, size, *parts)


def span_of(curves: Iterable[Curve], limits: tuple[float, float] | None = None) -> tuple[float, float]:
    """The vertical range that curves need."""
    spots = [spot for curve in curves for spot in curve.spots]
    ends = [end for spot in spots for end in (spot.low, spot.high) if end is not None]
    return reaching([spot.y for spot in spots], ends, limits)


def _across(curves: Sequence[Curve], axes: Axes) -> tuple[float, float]:
    values = [value for value, _ in axes.places or ()]
    values += [spot.x for curve in curves for spot in curve.spots]
    low, high = min(values), max(values)
    return (low, high) if low < high else (low - 1, high + 1)


def _band(curve: Curve, across: Scale, up: Scale) -> list[Markup]:
    wide = [(across(s.x), s.low, s.high) for s in curve.spots if s.low is not None and s.high is not None]
    edge = [(x, up.inside(high)) for x, _, high in wide] + [(x, up.inside(low)) for x, low, _ in wide[::-1]]
    centre = [(across(spot.x), up.inside(spot.y)) for spot in curve.spots]
    paint: Paint = {"fill": "none", "stroke": curve.look.colour, "stroke_width": 1.7}
    area = [shape(edge, fill=curve.look.colour, fill_opacity=0.16)] if len(wide) > 1 else []
    return [
        *area,
        path(centre, stroke_dasharray=curve.look.dash, **paint),
        marker(centre[-1], curve.look, size=3.6),
    ]


def _bars(curve: Curve, across: Scale, up: Scale, aside: float) -> list[Markup]:
    """Spots a little beside each other, so that no bar hides another."""
    paint: Paint = {"fill": "none", "stroke": curve.look.colour, "stroke_width": 1.5}
    places = [(across(spot.x) + aside, up.inside(spot.y)) for spot in curve.spots]
    parts = [path(places, stroke_dasharray=curve.look.dash, **paint)] if len(places) > 1 else []
    for spot, (x, y) in zip(curve.spots, places, strict=True):
        if spot.low is not None and spot.high is not None:
            parts.append(line((x, up.inside(spot.low)), (x, up.inside(spot.high)), **paint))
        parts.append(marker((x, y), curve.look, size=3.6, hollow=spot.hollow, told=spot.told))
    return [joined(parts)]
