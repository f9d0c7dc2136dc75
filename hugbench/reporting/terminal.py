"""What a person reads in a terminal: tables and captions that also stand as plain text in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from hugbench.reporting.adversarial import adversarial_tables
from hugbench.reporting.calibration import calibration_tables
from hugbench.reporting.collapse import collapse_tables
from hugbench.reporting.corruption import corruption_tables
from hugbench.reporting.judged import caption, counted, joined, judged_table, means_table
from hugbench.reporting.ood import ood_tables
from hugbench.reporting.stream import LEGEND as STREAM_LEGEND
from hugbench.reporting.stream import NUMBERS as STREAM_NUMBERS
from hugbench.reporting.stream import seen_after_each, stream_numbers
from hugbench.reporting.tables import (
    duration,
    is_fraction,
    mean_and_half_width,
    metric_value,
    records_table,
    simple_table,
)
from hugbench.results import comparison as compared
from hugbench.results.comparison import Comparison, Quantity

__all__ = ["comparison_table", "duration", "metric_value", "outcome_report", "records_table", "simple_table"]

SECONDARY = {
    "top5_accuracy": "top-5 %",
    "nearest_class_mean_accuracy": "nearest class mean %",
    "expected_calibration_error": "ECE %",
    "negative_log_likelihood": "NLL",
}
"""Metrics beside accuracy, in order, and what their columns are called."""

FREQUENCIES = ("many", "medium", "few")
"""Subsets of the test images by how many training images their classes have."""

FREQUENCY_LEGEND = "many, medium, few: classes with more than 100, 20 to 100, under 20 training images."

MOST_NOTES = 10


def comparison_table(comparison: Comparison, *, subsets: Sequence[str] = ("all",)) -> RenderableType:
    """Accuracy on clean images of every criterion, per data set, backbone, protocol, variant and subset.

    Each table has the accuracy over seeds, the paired difference to the baseline and what may be
    said of it, smaller tables of the accuracy on classes with many, medium and few training images
    (where they were told apart) and of the other metrics, and a caption with n, seeds and test. Below
    it come robust accuracy and the measures of neural collapse, corruption, calibration and
    out-of-distribution detection of the same models, where the suite asks for them.

    Args:
        comparison: what to show.
        subsets: of the test images; those without a record are left out.
    """
    parts: list[RenderableType] = []
    others: dict[tuple[str, ...], list[RenderableType]] = {}
    for tables_of in (adversarial_tables, collapse_tables, corruption_tables, calibration_tables, ood_tables):
        for block, tables in tables_of(comparison).items():
            others.setdefault(block, []).extend(tables)
    for table in _clean(comparison, subsets):
        if "accuracy" in table:
            parts += _block(comparison, table)
            parts += others.pop(table["accuracy"].quantity.block, [])
    for place, tables in others.items():
        parts += [Text(joined(place), style="bold"), *tables]
    if any(group.quantity.metric in STREAM_NUMBERS for group in comparison.groups):
        parts += [Text(STREAM_LEGEND, style="dim"), Text()]
    parts += [Text(f"Note: {note}.") for note in comparison.notes]
    return Group(*parts) if parts else Text("No run is finished: there is nothing to compare yet.")


def outcome_report(
    comparison: Comparison,
    failed: Mapping[str, str],
    notes: Sequence[str],
    folder: Path,
    console: Console,
    pictures: Sequence[Path] = (),
) -> None:
    """Print the end of a suite: the comparison, what failed, what to keep in mind, where it all lies.

    Args:
        comparison: every criterion against the baseline.
        failed: error of each failed run, by run id.
        notes: sentences that belong to the numbers.
        folder: the results folder.
        console: where to print.
        pictures: files that were drawn.
    """
    console.print(comparison_table(comparison))
    for note in notes[:MOST_NOTES]:
        console.print(Text(f"Note: {note}"))
    if len(notes) > MOST_NOTES:
        console.print(Text(f"... and {counted(len(notes) - MOST_NOTES, 'note')} more; --json has all"))
    if failed:
        console.print(Text(f"{counted(len(failed), 'run')} failed:", style="bold red"))
        console.print(simple_table("", ["run", "error"], failed.items()))
    for picture in pictures:
        console.print(Text(f"Picture: {picture}"), soft_wrap=True)
    console.print(Text(f"Everything lies in {folder}"), soft_wrap=True)


def _clean(comparison: Comparison, subsets: Sequence[str]) -> list[dict[str, compared.Group]]:
    """The groups of clean accuracy at the end by metric, one dict per block, evaluation and subset."""
    tables: dict[tuple[object, ...], dict[str, compared.Group]] = {}
    last: dict[tuple[str, ...], int] = {}
    for group in comparison.groups:
        block, experience = group.quantity.block, group.quantity.experience
        last[block] = max(last.get(block, 0), experience or 0)
    for group in comparison.groups:
        found = group.quantity
        place = found.condition, found.severity, found.epoch, found.experience or 0
        end = "clean", None, None, last[found.block]
        named = found.evaluation.partition("(")[0] == "accuracy"
        if named and place == end and found.subset in subsets:
            tables.setdefault((found.block, found.evaluation, found.subset), {})[found.metric] = group
    return list(tables.values())


def _block(comparison: Comparison, table: Mapping[str, compared.Group]) -> list[RenderableType]:
    """Title, accuracy, how it differs between frequent and rare classes, the other metrics, caption."""
    group = table["accuracy"]
    frequencies = _frequencies(comparison, group)
    legend = f" {FREQUENCY_LEGEND}" if frequencies else ""
    return [
        Text(_title(group.quantity), style="bold"),
        judged_table(comparison, group, "accuracy %"),
        Text(),
        *means_table(group, frequencies),
        *means_table(group, stream_numbers(table)),
        *means_table(group, seen_after_each(comparison, group)),
        *means_table(group, _others(table)),
        Text(caption(comparison, group) + legend, style="dim"),
        Text(),
    ]


def _frequencies(comparison: Comparison, group: compared.Group) -> dict[str, list[str]]:
    """Accuracy on the classes with many, medium and few training images."""
    groups = {found.quantity: found for found in comparison.groups}
    places = {name: group.quantity._replace(subset=name) for name in FREQUENCIES}
    if group.quantity.subset != "all":
        return {}
    return {
        f"{name} %": [mean_and_half_width(arm.interval, 100) for arm in groups[place].arms]
        for name, place in places.items()
        if place in groups
    }


def _others(table: Mapping[str, compared.Group]) -> dict[str, list[str]]:
    """The secondary metrics."""
    return {
        title: [
            mean_and_half_width(arm.interval, 100 if is_fraction(metric) else 1) for arm in table[metric].arms
        ]
        for metric, title in SECONDARY.items()
        if metric in table
    }


def _title(quantity: Quantity) -> str:
    evaluation = "" if quantity.evaluation == "accuracy" else quantity.evaluation
    subset = "" if quantity.subset == "all" else quantity.subset
    return joined((*quantity.block, evaluation, subset))
