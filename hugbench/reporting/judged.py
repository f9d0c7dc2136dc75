"""One number of every criterion against the baseline: the table with what may be said, and its caption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hugbench.reporting.tables import criteria_table, mean_and_half_width
from hugbench.results.comparison import Arm, Comparison, Group
from hugbench.results.statistics import Paired

_STYLES = {"better": "bold green", "worse": "bold red", "differs": "bold", "no result": "red"}


def judged_table(comparison: Comparison, group: Group, column: str) -> Table:
    """One row per criterion: mean over seeds, difference to the baseline, what may be said of it.

    Args:
        comparison: names the baseline.
        group: a fraction; it is shown in per cent, and differences in percentage points.
        column: what the column of the means is called.
    """
    arms = group.arms
    columns = {
        "seeds": [_seed_share(arm) for arm in arms] if any(map(_incomplete, arms)) else [],
        column: [mean_and_half_width(arm.interval, 100) for arm in arms],
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


def means_table(group: Group, columns: Mapping[str, Sequence[str]]) -> list[RenderableType]:
    """Means and half-widths, no tests; nothing without columns."""
    if not columns:
        return []
    small = criteria_table(columns)
    for arm, *cells in zip(group.arms, *columns.values(), strict=True):
        small.add_row(*map(Text, (arm.criterion, *cells)), style="dim")
    return [small, Text()]


def caption(comparison: Comparison, group: Group) -> str:
    """n, seeds, what the intervals and the p are, and what limits them."""
    seeds = sorted({seed for arm in group.arms for seed in arm.values})
    held_out = "split=validation" in group.quantity.evaluation
    images = counted(group.images, "held-out training image" if held_out else "test image")
    sentences = [f"{images}; {seeds_named(seeds)}."]
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
            gaps.append(f"{arm.criterion}: nothing for {seeds_named(arm.missing)}.")
        if arm.not_finite:
            gaps.append(f"{arm.criterion}: not a finite number for {seeds_named(arm.not_finite)}.")
    return gaps


def joined(parts: Iterable[str]) -> str:
    """The parts of a title that are there."""
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


def seeds_named(seeds: Sequence[int]) -> str:
    """`seeds 0, 1, 2`."""
    if not seeds:
        return "no seed with a number"
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def counted(number: int, noun: str) -> str:
    """`1 note`, `1,000 notes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
