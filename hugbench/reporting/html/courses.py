"""Curves of many criteria: charts that share their axes, with the baseline in each, and the legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from markupsafe import Markup

from hugbench.reporting.html.lines import Axes, Curve, Spot, lines, span_of
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, shown
from hugbench.reporting.html.svg import swatch
from hugbench.results.statistics import Interval

MOST = 5
"""Curves beside the baseline's that one chart can hold."""


def panels_of(
    material: Material, title: str, curves: Mapping[str, Curve], axes: Axes, *, bands: bool = False
) -> list[tuple[str, Markup]]:
    """One chart, or as many as the curves need; none without a curve.

    Args:
        material: knows the baseline.
        title: of every chart, for those who do not see it.
        curves: by criterion.
        axes: without a span they have that which all curves need.
        bands: as in `lines`.
    """
    if not curves:
        return []
    shared = replace(axes, span=axes.span or span_of(curves.values(), axes.limits))
    return [
        (
            "",
            lines(
                title,
                f"Curves of {', '.join(chunk)}; hollow markers are unreliable.",
                [curves[name] for name in chunk],
                shared,
                bands=bands,
            ),
        )
        for chunk in chunks(list(curves), material.report.baseline)
    ]


def curves_of(material: Material, rows: Mapping[int, Row]) -> dict[str, Curve]:
    """The means of fractions of each criterion over x, in per cent; what is unreliable is hollow."""
    curves = {}
    for name in material.report.criteria:
        spots = tuple(
            spot(x, line.interval, hollow=line.own_reliability == "FAIL", told=f"{name}: {shown(line)}")
            for x, row in rows.items()
            if (line := row.get(name)) is not None and line.interval is not None
        )
        if spots:
            curves[name] = Curve(name, material.looks[name], spots)
    return curves


def legend_of(material: Material, names: Iterable[str]) -> list[tuple[Markup, str]]:
    """How each criterion is drawn."""
    return [(swatch(material.looks[name]), name) for name in names]


def spot(x: float, found: Interval, *, hollow: bool = False, told: str = "") -> Spot:
    """A mean of fractions with its interval, in per cent."""
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return Spot(x, 100 * found.mean, low, high, hollow, told)


def chunks(names: list[str], baseline: str) -> list[list[str]]:
    """Names in groups of about the same size that a chart can hold, the baseline in each of them."""
    first = [name for name in names if name == baseline]
    others = [name for name in names if name != baseline]
    count = -(-len(others) // MOST) or 1
    size = -(-len(others) // count) or 1
    return [[*first, *others[start : start + size]] for start in range(0, len(others) or 1, size)]
