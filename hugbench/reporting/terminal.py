"""What a person reads in a terminal: tables and captions that also stand as plain text in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hugbench.reporting.collapse import collapse_tables
from hugbench.reporting.stream import LEGEND as STREAM_LEGEND
from hugbench.reporting.stream import NUMBERS as STREAM_NUMBERS
from hugbench.reporting.stream import seen_after_each, stream_numbers
from hugbench.reporting.tables import (
    criteria_table,
    duration,
    is_fraction,
    mean_and_half_width,
    metric_value,
    records_table,
    simple_table,
)
from hugbench.results import comparison as compared
from hugbench.results.comparison import Arm, Comparison, Quantity
from hugbench.results.statistics import Paired

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
_STYLES = {"better": "bold green", "worse": "bold red", "differs": "bold", "no result": "red"}


def comparison_table(comparison: Comparison, *, subsets: Sequence[str] = ("all",)) -> RenderableType:
    """Accuracy on clean images of every criterion, per data set, backbone, protocol, variant and subset.

    Each table has the accuracy over seeds, the paired difference to the baseline and what may be
    said of it, smaller tables of the accuracy on classes with many, medium and few training images
    (where they were told apart) and of the other metrics, and a caption with n, seeds and test. Below
    it come the measures of neural collapse of the same models, where the suite asks for them.

    Args:
        comparison: what to show.
        subsets: of the test images; those without a record are left out.
    """
    parts: list[RenderableType] = []
    collapse = collapse_tables(comparison)
    for table in _clean(comparison, subsets):
        if "accuracy" in table:
            parts += _block(comparison, table)
            parts += collapse.pop(table["accuracy"].quantity.block, [])
    for block, tables in collapse.items():
        parts += [Text(_joined(block), style="bold"), *tables]
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
        console.print(Text(f"... and {_count(len(notes) - MOST_NOTES, 'note')} more; --json has all"))
    if failed:
        console.print(Text(f"{_count(len(failed), 'run')} failed:", style="bold red"))
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
        _accuracy(comparison, group),
        Text(),
        *_small_table(group, frequencies),
        *_small_table(group, stream_numbers(table)),
        *_small_table(group, seen_after_each(comparison, group)),
        *_small_table(group, _others(table)),
        Text(_caption(comparison, group) + legend, style="dim"),
        Text(),
    ]


def _accuracy(comparison: Comparison, group: compared.Group) -> Table:
    """One row per criterion: mean over seeds, difference to the baseline, what may be said of it."""
    arms = group.arms
    columns = {
        "seeds": [_seed_share(arm) for arm in arms] if any(map(_incomplete, arms)) else [],
        "accuracy %": [mean_and_half_width(arm.interval, 100) for arm in arms],
        f"minus {comparison.baseline}": [_points(arm.difference) for arm in arms],
        "p": [_p(arm.difference) for arm in arms],
    }
    told = {name: cells for name, cells in columns.items() if any(cells)}
    table = criteria_table(told)
    table.add_column("verdict")
    for arm, *cells in zip(arms, *told.values(), strict=True):
        verdict = _verdict(arm)
        style = _STYLES.get(verdict, "dim")
        table.add_row(Text(arm.criterion), *map(Text, cells), Text(verdict, style=style))
    return table


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


def _small_table(group: compared.Group, columns: Mapping[str, Sequence[str]]) -> list[RenderableType]:
    """Means and half-widths, no tests; nothing without columns."""
    if not columns:
        return []
    small = criteria_table(columns)
    for arm, *cells in zip(group.arms, *columns.values(), strict=True):
        small.add_row(*map(Text, (arm.criterion, *cells)), style="dim")
    return [small, Text()]


def _caption(comparison: Comparison, group: compared.Group) -> str:
    """n, seeds, what the intervals and the p are, and what limits them."""
    seeds = sorted({seed for arm in group.arms for seed in arm.values})
    held_out = "split=validation" in group.quantity.evaluation
    images = _count(group.images, "held-out training image" if held_out else "test image")
    sentences = [f"{images}; {_seeds(seeds)}."]
    if len(seeds) > 1:
        sentences.append(
            f"± and [ ]: {100 * comparison.level:g} % Student t-intervals over seeds; "
            "differences in percentage points, paired by seed."
        )
    differences = {arm.criterion: arm.difference for arm in group.arms if arm.difference is not None}
    if any(difference.test == "paired t" for difference in differences.values()):
        sentences.append("p: paired t-test, two-sided, not corrected for the number of comparisons.")
    notes: dict[str, list[str]] = {}
    for criterion, difference in differences.items():
        notes.setdefault(difference.note, []).append(criterion)
    for note, criteria in notes.items():
        if note:
            everyone = len(criteria) == len(differences)
            head = note[0].upper() if everyone else f"{', '.join(criteria)}: {note[0]}"
            sentences.append(f"{head}{note[1:]}.")
    return " ".join([*sentences, *_gaps(group.arms)])


def _gaps(arms: Iterable[Arm]) -> list[str]:
    """Seeds without a number, arm by arm; an arm without any says so in its row."""
    gaps = []
    for arm in arms:
        if arm.missing and arm.values:
            gaps.append(f"{arm.criterion}: nothing for {_seeds(arm.missing)}.")
        if arm.not_finite:
            gaps.append(f"{arm.criterion}: not a finite number for {_seeds(arm.not_finite)}.")
    return gaps


def _title(quantity: Quantity) -> str:
    evaluation = "" if quantity.evaluation == "accuracy" else quantity.evaluation
    subset = "" if quantity.subset == "all" else quantity.subset
    return _joined((*quantity.block, evaluation, subset))


def _joined(parts: Iterable[str]) -> str:
    return " · ".join(part for part in parts if part)


def _points(difference: Paired | None) -> str:
    """The difference of two fractions in percentage points, with its interval."""
    if difference is None or difference.mean is None:
        return ""
    mean = f"{100 * difference.mean:+.2f}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


def _p(difference: Paired | None) -> str:
    if difference is None or difference.p_value is None:
        return ""
    return "<0.001" if difference.p_value < 0.001 else f"{difference.p_value:.3f}"


def _verdict(arm: Arm) -> str:
    if not arm.values:
        return "no result"
    return "no baseline" if arm.difference is None and arm.verdict != "baseline" else arm.verdict


def _incomplete(arm: Arm) -> bool:
    return bool(arm.missing or arm.not_finite)


def _seed_share(arm: Arm) -> str:
    return f"{len(arm.values)}/{len(arm.values) + len(arm.missing) + len(arm.not_finite)}"


def _seeds(seeds: Sequence[int]) -> str:
    if not seeds:
        return "no seed with a number"
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
