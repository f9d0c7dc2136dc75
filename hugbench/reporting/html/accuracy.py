"""Accuracy: its table, the means with every seed, the differences to the baseline, the metrics beside it."""

from __future__ import annotations

from hugbench.reporting.html.dots import dots
from hugbench.reporting.html.elements import Cell, Figure, Item, Section, Table
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import (
    Row,
    difference_dot,
    dot,
    evidence,
    first,
    means_table,
    scaled,
    values_table,
)
from hugbench.reporting.html.verdicts import badge
from hugbench.reporting.tables import is_fraction
from hugbench.reporting.terminal import SECONDARY
from hugbench.results.cells import Block

PER_CENT = (0.0, 100.0)


def accuracy_section(material: Material, block: Block) -> Section | None:
    """Every evaluation of accuracy at the end of the runs."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, "accuracy"):
        places = material.numbers.ended(block, evaluation)
        main = places.get(("accuracy", "clean", "all", None))
        if main is not None:
            items += judged(material, main, "accuracy" if evaluation == "accuracy" else evaluation)
            beside = {
                name: row
                for metric, name in SECONDARY.items()
                if (row := places.get((metric, "clean", "all", None)))
            }
            if beside:
                lines = [line for row in beside.values() for line in row.values()]
                told = evidence(lines, material.report.level)
                items.append(means_table(beside, material.report.criteria, "Beside accuracy", told))
    return Section("Accuracy", items) if items else None


def judged(material: Material, row: Row, name: str) -> list[Item]:
    """The table of a quantity with its verdicts, and its figure."""
    sheet = material.numbers.sheet(row)
    cells: list[list[Cell]] = [
        [*cells[:-1], badge(line)] for cells, line in zip(sheet.rows, row.values(), strict=True)
    ]
    table = Table(
        sheet.columns, cells, caption=sheet.caption, title=f"{name[0].upper()}{name[1:]}", tail=True
    )
    return [table, *_figure(material, row, name)]


def _figure(material: Material, row: Row, name: str) -> list[Item]:
    lines = [line for line in row.values() if line.interval is not None]
    if not lines:
        return []
    metric, baseline = first(row).quantity.metric, material.report.baseline
    unit = " %" if is_fraction(metric) else ""
    limits = PER_CENT if metric.endswith("accuracy") or (metric.endswith("error") and unit) else None
    reference = row[baseline].interval if baseline in row else None
    panels = [
        (
            "",
            dots(
                f"{name} by criterion",
                _described(lines, f"{name}{unit}"),
                [dot(line, material.looks[line.criterion]) for line in row.values()],
                f"{name}{unit}",
                at=None if reference is None else scaled(metric) * reference.mean,
                limits=limits,
            ),
        )
    ]
    others = [line for line in row.values() if line.criterion != baseline]
    if any(line.difference is not None and line.difference.mean is not None for line in others):
        delta = next((line.delta for line in others if line.delta), None)
        across = f"{name} minus {baseline}{', points' if unit else ''}"
        panels.append(
            (
                "",
                dots(
                    f"{name}: difference to {baseline}",
                    f"Paired differences to {baseline} with their intervals.",
                    [difference_dot(line, material.looks[line.criterion]) for line in others],
                    across,
                    at=0.0,
                    around=None if delta is None else scaled(metric) * delta,
                ),
            )
        )
    warnings = unreliable(row)
    told = "Marker: mean; line: interval, an arrow where it goes on; small dots: seeds. "
    return [
        Figure(
            f"{name[0].upper()}{name[1:]} by criterion",
            panels,
            values_table(row),
            caption=told + evidence(lines, material.report.level) + _band(others_delta(row), unit),
            warnings=warnings,
        )
    ]


def unreliable(row: Row) -> list[str]:
    """Sentences on figures that their own checks failed."""
    failed = [line.criterion for line in row.values() if line.reliability == "FAIL"]
    return [f"Unreliable, drawn hollow: {', '.join(failed)}. Checks of the figure failed."] if failed else []


def others_delta(row: Row) -> float | None:
    """The difference that is as good as none, if anybody said."""
    return next((line.delta for line in row.values() if line.delta), None)


def _band(delta: float | None, unit: str) -> str:
    if delta is None:
        return ""
    return f" Band: ±{100 * delta:g} points." if unit else f" Band: ±{delta:g}."


def _described(lines: list, what: str) -> str:
    best = max(lines, key=lambda line: line.interval.mean)
    worst = min(lines, key=lambda line: line.interval.mean)
    scale = scaled(best.quantity.metric)
    return (
        f"{what} of {len(lines)} criteria, from {scale * worst.interval.mean:.2f} ({worst.criterion}) "
        f"to {scale * best.interval.mean:.2f} ({best.criterion})."
    )
