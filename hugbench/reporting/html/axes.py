"""Scales, sensible ticks, and the axes of a chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hugbench.reporting.html.markup import joined
from hugbench.reporting.html.svg import CHARACTER, line, text, wrapped

SMALL = 11.0
LINE = 13.0
EDGE = 8.0
"""How far a title may reach beyond the right of the data."""

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """From numbers between low and high to coordinates between start and end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def inside(self, value: float) -> float:
        """The coordinate of the nearest value that is shown."""
        return self(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Box:
    """Where the data of a chart lie: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float


def spanned(
    values: Iterable[float], *, about: float = 0.06, limits: tuple[float, float] | None = None
) -> tuple[float, float]:
    """A range around values with some air; limits are left by values beyond them only.

    Args:
        values: at least one, finite.
        about: how much of the span is added at each end.
        limits: smallest and largest number that the quantity can have.
    """
    known = list(values)
    low, high = min(known), max(known)
    air = about * (high - low) or about * abs(high) or 1.0
    low, high = low - air, high + air
    if limits is None or low >= limits[1] or high <= limits[0]:
        return low, high
    return max(low, limits[0]), min(high, limits[1])


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between low and high: at least two where there is room, and at most so many."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """The ticks as text, all with as many digits as their step needs."""
    step = values[1] - values[0] if len(values) > 1 else abs(values[0]) if values else 1
    digits = 0
    while digits < 6 and step and abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
        digits += 1
    return [f"{value + 0.0:.{digits}f}" for value in values]


def below(box: Box, scale: Scale, title: str, places: Sequence[tuple[float, str]] | None = None) -> Markup:
    """The horizontal axis: grid lines, labels, title. `places` are (value, label); round numbers without."""
    found = _ticks(scale, box.right - box.left, 45) if places is None else places
    parts = []
    for value, name in found:
        x = scale(value)
        parts.append(line((x, box.top), (x, box.bottom), class_="grid"))
        parts.append(text((x, box.bottom + 12), name, anchor="middle", size=SMALL, class_="quiet"))
    lines = _title(box, title)
    longest = CHARACTER * SMALL * max(map(len, lines))
    middle = (box.left + box.right) / 2
    middle = min(middle, box.right + EDGE - longest / 2)
    for number, words in enumerate(lines):
        parts.append(text((middle, box.bottom + 28 + LINE * number), words, anchor="middle", size=SMALL))
    return joined(parts)


def foot(box: Box, title: str) -> float:
    """How much room the horizontal axis takes below a chart."""
    return 24 + LINE * len(_title(box, title))


def beside(box: Box, scale: Scale, title: str) -> Markup:
    """The vertical axis: grid lines, labels, and the title above it."""
    parts = []
    for value, name in _ticks(scale, box.bottom - box.top, 28):
        y = scale(value)
        parts.append(line((box.left, y), (box.right, y), class_="grid"))
        parts.append(text((box.left - 5, y), name, anchor="end", size=SMALL, class_="quiet"))
    parts.append(text((2, box.top - 12), title, size=SMALL))
    return joined(parts)


def _title(box: Box, title: str) -> list[str]:
    return wrapped(title, int((box.right + EDGE) / (CHARACTER * SMALL))) or [""]


def _ticks(scale: Scale, length: float, apart: float) -> list[tuple[float, str]]:
    values = ticks(scale.low, scale.high, max(2, int(length / apart)))
    return list(zip(values, tick_labels(values), strict=True))


def reaching(
    values: Sequence[float], ends: Sequence[float], limits: tuple[float, float] | None = None
) -> tuple[float, float]:
    """A range that shows all values, and ends of intervals as far as the values stay readable.

    With two seeds an interval is thirteen times as wide as they are apart: it is cut where it leaves the
    values by more than their span, and the chart says so by an arrow.

    Args:
        values: at least one.
        ends: of intervals.
        limits: smallest and largest number that the quantity can have.
    """
    low, high = min(values), max(values)
    span = (high - low) or max((abs(end - low) for end in ends), default=0.0)
    seen = [min(max(end, low - span), high + span) for end in ends]
    return spanned([low, high, *seen], limits=limits)
