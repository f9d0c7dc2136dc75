"""The tables of out-of-distribution detection: AUROC and FPR at 95 % TPR by score, near and far."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hugbench.reporting.ending import Block, Place, seeds_told, tables_at_the_end
from hugbench.reporting.tables import criteria_table
from hugbench.results.comparison import Comparison, Group

METRICS = {"auroc": "AUROC %", "fpr_at_95_tpr": "false positives % at 95 % true positives"}
SETS = ("near", "far", "synthetic")
SCORES = {
    "MSP": ("msp_calibrated", "msp"),
    "energy": ("energy_calibrated", "energy"),
    "Mahalanobis": ("mahalanobis",),
    "k-NN": ("knn",),
    "proxy": ("proxy_cosine",),
    "class mean": ("class_mean_cosine",),
}
"""Columns, and the scores that they show: the first that there is."""

CAPTION = (
    "Test images against other images, means over the near, far and synthetic sets that were at hand; the "
    "test images are the positive ones. MSP and energy at the temperature fitted on held-out training "
    "images, where there are such; proxy, class mean: cosine with the nearest. Formulas: hugbench show ood."
)


def ood_tables(comparison: Comparison) -> dict[Block, list[RenderableType]]:
    """What the out-of-distribution evaluations found at the end, as tables with one caption, per block."""
    return tables_at_the_end(comparison, "ood", _tables)


def _tables(comparison: Comparison, groups: Mapping[Place, Group]) -> list[RenderableType]:
    first, parts = next(iter(groups.values())), list[RenderableType]()
    for metric, title in METRICS.items():
        title = f"{first.quantity.evaluation} · {title}"
        parts += [Text(title, style="bold"), _table(groups, metric), Text()]
    return [*parts, Text(f"{seeds_told(comparison, first)} {CAPTION}", style="dim"), Text()]


def _table(groups: Mapping[Place, Group], metric: str) -> Table:
    """One row per kind of sets and criterion, one column per score."""
    found: dict[str, dict[str, Group]] = {}
    for kind in SETS:
        for title, scores in SCORES.items():
            places = [(f"{score}.{metric}", kind, "all", None) for score in scores]
            if group := next((groups[place] for place in places if place in groups), None):
                found.setdefault(kind, {})[title] = group
    titles = [title for title in SCORES if any(title in columns for columns in found.values())]
    table = criteria_table(["", *titles])
    table.columns[1].no_wrap = True
    for kind, columns in found.items():
        for number, arm in enumerate(next(iter(columns.values())).arms):
            cells = [_cell(columns[title], number) if title in columns else "-" for title in titles]
            table.add_row(*map(Text, (arm.criterion, kind, *cells)))
    return table


def _cell(group: Group, number: int) -> str:
    """Per cent with one digit, which is what the number of images supports."""
    interval = group.arms[number].interval
    if interval is None:
        return "-"
    half = "" if interval.half_width is None else f" ± {100 * interval.half_width:.1f}"
    return f"{100 * interval.mean:.1f}{half}"
