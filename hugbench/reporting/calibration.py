"""The tables of calibration: errors and likelihoods, clean and under corruption, as they are and at T."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hugbench.reporting.ending import Block, Place, seeds_told, tables_at_the_end
from hugbench.reporting.judged import counted
from hugbench.reporting.tables import criteria_table, is_fraction, mean_and_half_width
from hugbench.results.comparison import Comparison, Group
from hugbench.results.corruption import CLEAN, CORRUPTED

METRICS = {
    "expected_calibration_error": "expected calibration error %",
    "negative_log_likelihood": "negative log-likelihood",
}
CALIBRATED = "_calibrated"
CAPTION = (
    "Clean test images, then the mean over the corruptions at each severity. at T: the temperature fitted on "
    "clean held-out training images; for bounded logits (cosines) it is all there is."
)


def calibration_tables(comparison: Comparison) -> dict[Block, list[RenderableType]]:
    """What the calibration evaluations found at the end, as tables with one caption, per block."""
    return tables_at_the_end(comparison, "calibration", _tables)


def _tables(comparison: Comparison, groups: Mapping[Place, Group]) -> list[RenderableType]:
    first, parts = next(iter(groups.values())), list[RenderableType]()
    for metric, title in METRICS.items():
        if any(name.removesuffix(CALIBRATED) == metric for name, *_ in groups):
            title = f"{first.quantity.evaluation} · {title}"
            parts += [Text(title, style="bold"), _table(groups, metric), Text()]
    images = counted(first.images, "test image")
    caption = f"{images}. {seeds_told(comparison, first)} {CAPTION}"
    return [*parts, Text(caption, style="dim"), Text()] if parts else []


def _table(groups: Mapping[Place, Group], metric: str) -> Table:
    """One row per criterion, or two: as it is, and at its temperature."""
    severities = sorted({level for _, condition, _, level in groups if condition == CORRUPTED and level})
    columns = {"clean": (CLEAN, None), **{f"severity {level}": (CORRUPTED, level) for level in severities}}
    table = criteria_table(["", *columns])
    table.columns[1].no_wrap = True
    before, after = (
        [groups.get((name, condition, "all", level)) for condition, level in columns.values()]
        for name in (metric, f"{metric}{CALIBRATED}")
    )
    temperatures = groups.get(("temperature", CLEAN, "all", None))
    for number, arm in enumerate(next(iter(groups.values())).arms):
        rows = {"as is": _cells(before, number, metric)}
        if temperatures is not None:
            interval = temperatures.arms[number].interval
            told = "" if interval is None else f"at T = {interval.mean:.3g}"
            rows[told] = _cells(after, number, metric)
        if rows["as is"] in [cells for told, cells in rows.items() if told != "as is"]:
            del rows["as is"]
        for told, cells in rows.items():
            table.add_row(*map(Text, (arm.criterion, told, *cells)))
    return table


def _cells(groups: list[Group | None], number: int, metric: str) -> list[str]:
    """The numbers of one criterion."""
    scale = 100 if is_fraction(metric) else 1
    intervals = [None if group is None else group.arms[number].interval for group in groups]
    return [mean_and_half_width(interval, scale) for interval in intervals]
