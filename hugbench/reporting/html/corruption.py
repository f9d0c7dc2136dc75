"""Corruption: the mean error with its verdict, and the accuracy by kind and severity as heat maps."""

from __future__ import annotations

from collections.abc import Mapping

from hugbench.reporting.html.elements import Figure, Item, Section, Table
from hugbench.reporting.html.heat import Grid, heat
from hugbench.reporting.html.judged import judged
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Place, Row, evidence, means_table, shown
from hugbench.results.cells import Block
from hugbench.results.corruption import CLEAN, CORRUPTED, EVALUATION

BESIDE = {
    ("accuracy", CLEAN): "clean accuracy %",
    ("mCE", CORRUPTED): "mCE %",
    ("relative_mCE", CORRUPTED): "relative mCE %",
}
RATIOS = (
    "mCE: error over that of {} at the same corruption, mean over the kinds; relative: of what each loses "
    "there against clean images."
)


def corruption_section(material: Material, block: Block) -> Section | None:
    """Every corruption evaluation at the end of the runs."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, EVALUATION):
        places = material.numbers.ended(block, evaluation)
        main = places.get(("mean_corruption_error", CORRUPTED, "all", None))
        if main is not None:
            items += judged(material, main, "mean corruption error")
        beside = {
            title: row
            for (metric, condition), title in BESIDE.items()
            if (row := places.get((metric, condition, "all", None)))
        }
        if beside:
            told = RATIOS.format(material.report.baseline)
            items.append(means_table(beside, material.report.criteria, "Beside the corruption error", told))
        cells = {
            (condition, severity): row
            for (metric, condition, subset, severity), row in places.items()
            if (metric, subset) == ("accuracy", "all") and severity is not None and condition != CORRUPTED
        }
        if cells:
            items.append(_maps(material, cells, places))
    return Section("Corruption", items) if items else None


def _maps(material: Material, cells: Mapping[tuple[str, int], Row], places: Mapping[Place, Row]) -> Figure:
    """The baseline's accuracy, and what every other criterion gains or loses against it."""
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    severities = sorted({severity for _, severity in cells})
    criteria = list(next(iter(cells.values())))
    baseline = material.report.baseline
    gains = {
        name: [[_gain(cells.get((kind, level)), name) for level in severities] for kind in kinds]
        for name in criteria
        if name != baseline
    }
    strongest = max(
        (abs(v) for table in gains.values() for row in table for v in row if v is not None), default=0.0
    )
    names = [kind.replace("_", " ") for kind in kinds]
    levels = list(map(str, severities))
    panels = []
    if baseline in criteria:
        means = [[_mean(cells.get((kind, level)), baseline) for level in severities] for kind in kinds]
        grid = Grid(names, levels, means, 100.0, across="accuracy % at severity")
        drawn = heat(f"Accuracy of {baseline} under corruption", "By kind and severity.", grid)
        panels.append((f"{baseline}: accuracy %", drawn))
    for name, table in gains.items():
        if any(value is not None for row in table for value in row):
            grid = Grid(names, levels, table, strongest, 1, "points at severity", signed=True)
            drawn = heat(
                f"{name} minus {baseline} under corruption",
                "Difference in accuracy, percentage points, by kind and severity.",
                grid,
            )
            panels.append((f"{name} minus {baseline}", drawn))
    rows = [
        [name, *(shown(row[name]) if (row := cells.get((kind, level))) else "-" for level in severities)]
        for kind in kinds
        for name in criteria
    ]
    labelled = [
        [kind.replace("_", " "), *row]
        for kind, row in zip([kind for kind in kinds for _ in criteria], rows, strict=True)
    ]
    lines = [line for row in cells.values() for line in row.values()]
    return Figure(
        "Accuracy by corruption and severity",
        panels,
        Table(["corruption", "criterion", *(f"severity {level}" for level in levels)], labelled, words=2),
        caption=f"Means over seeds of paired differences; one scale of colour for all. "
        f"{evidence(lines, material.report.level)}",
        size="medium",
    )


def _mean(row: Row | None, criterion: str) -> float | None:
    found = None if row is None else row[criterion].interval
    return None if found is None else 100 * found.mean


def _gain(row: Row | None, criterion: str) -> float | None:
    found = None if row is None else row[criterion].difference
    return None if found is None or found.mean is None else 100 * found.mean
