"""One number of every criterion: its table with verdicts, the means, the differences to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from hugbench.reporting.html.dots import dots
from hugbench.reporting.html.elements import Cell, Figure, Item, Table
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, difference_dot, dot, evidence, first, scaled, values_table
from hugbench.reporting.html.verdicts import badge
from hugbench.reporting.tables import is_fraction
from hugbench.results.contrasts import Contrast

PER_CENT = (0.0, 100.0)
SIGNED = ("forgetting", "transfer", "forgetting_initial")
READING = "Marker: mean; line: interval, an arrow where it goes on; small dots: seeds."


def judged(material: Material, row: Row, name: str, *, titled: bool = True) -> list[Item]:
    """The table of a quantity as `hugbench compare` prints it, and its figure.

    Args:
        material: the report's.
        row: the quantity.
        name: what it is called.
        titled: whether the name stands above the table.
    """
    sheet = material.numbers.sheet(row)
    rows: list[list[Cell]] = [
        [*cells[:-1], badge(line)] for cells, line in zip(sheet.rows, row.values(), strict=True)
    ]
    table = Table(
        sheet.columns, rows, caption=sheet.caption, title=_capital(name) if titled else "", tail=True
    )
    lines = [line for line in row.values() if line.interval is not None]
    return [table, _figure(material, row, lines, name)] if lines else [table]


def unreliable(row: Row) -> list[str]:
    """A sentence on figures that their own checks failed, if there are such."""
    failed = [line.criterion for line in row.values() if line.own_reliability == "FAIL"]
    return [f"Unreliable, drawn hollow: {', '.join(failed)}. Checks of the figure failed."] if failed else []


def _figure(material: Material, row: Row, lines: Sequence[Contrast], name: str) -> Figure:
    panels = [("", _means(material, row, lines, name))]
    others = [line for line in row.values() if line.criterion != material.report.baseline]
    delta = next((line.delta for line in others if line.delta), None)
    told = f"{READING} {evidence(lines, material.report.level)}"
    if any(line.difference is not None and line.difference.mean is not None for line in others):
        panels.append(("", _differences(material, others, name, delta)))
        if delta is not None:
            told += f" Band: ±{100 * delta:g} points." if _fraction(row) else f" Band: ±{delta:g}."
    return Figure(
        f"{_capital(name)} by criterion", panels, values_table(row), caption=told, warnings=unreliable(row)
    )


def _means(material: Material, row: Row, lines: Sequence[Contrast], name: str) -> Markup:
    metric, baseline = first(row).quantity.metric, row.get(material.report.baseline)
    reference = None if baseline is None else baseline.interval
    title = f"{name} %" if _fraction(row) else name
    ends = sorted((line.interval.mean, line.criterion) for line in lines if line.interval is not None)
    described = ", ".join(f"{scaled(metric) * mean:.4g} ({of})" for mean, of in (ends[0], ends[-1]))
    return dots(
        f"{name} by criterion",
        f"{title} of {len(lines)} criteria, least and largest mean: {described}.",
        [dot(line, material.looks[line.criterion]) for line in row.values()],
        title,
        at=None if reference is None else scaled(metric) * reference.mean,
        limits=PER_CENT if _fraction(row) and not metric.endswith(SIGNED) else None,
    )


def _differences(material: Material, others: Sequence[Contrast], name: str, delta: float | None) -> Markup:
    metric, baseline = others[0].quantity.metric, material.report.baseline
    points = ", points" if is_fraction(metric) else ""
    return dots(
        f"{name}: difference to {baseline}",
        f"Paired differences to {baseline} with their intervals.",
        [difference_dot(line, material.looks[line.criterion]) for line in others],
        f"{name} minus {baseline}{points}",
        at=0.0,
        around=None if delta is None else scaled(metric) * delta,
    )


def _fraction(row: Row) -> bool:
    return is_fraction(first(row).quantity.metric)


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
