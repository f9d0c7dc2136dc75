"""From flat records to a comparison: every criterion against the baseline, paired over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hugbench.results.cells import Cells, Quantity, named
from hugbench.results.statistics import Interval, Paired, mean_interval, paired_difference

__all__ = ["Arm", "Comparison", "Group", "Quantity", "compare_records", "direction"]

LEVEL = 0.95

Direction = Literal["higher", "lower", "neutral"]
Verdict = Literal[
    "baseline", "better", "worse", "differs", "undecided", "identical", "not testable", "unreliable"
]

_LOWER = {
    "negative_log_likelihood",
    "expected_calibration_error",
    "expected_calibration_error_equal_mass",
    "error",
    "mean_corruption_error",
    "relative_mean_corruption_error",
    "mCE",
    "relative_mCE",
    "brier_score",
    "fpr_at_95_tpr",
    "forgetting",
    "forgetting_initial",
}
_HIGHER = {"backward_transfer", "forward_transfer", "auroc", "aupr_in", "aupr_out"}


@dataclass(frozen=True)
class Arm:
    """One criterion's numbers for a quantity.

    Attributes:
        criterion: its label in the suite.
        values: finite values by seed, ascending.
        interval: mean and interval over seeds; None without a value.
        difference: this arm minus the baseline; None for the baseline, or where either has no value.
        verdict: what the difference says.
        missing: seeds that others have, or that were asked for, and that gave no record here.
        not_finite: seeds whose value is no number.
        reliability: the worst verdict that any seed's figure has from its own checks; None for none.
    """

    criterion: str
    values: Mapping[int, float]
    interval: Interval | None
    difference: Paired | None
    verdict: Verdict
    missing: tuple[int, ...]
    not_finite: tuple[int, ...]
    reliability: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data; seeds become strings where they are keys."""
        return {
            "criterion": self.criterion,
            "values": {str(seed): value for seed, value in self.values.items()},
            "interval": None if self.interval is None else dict(vars(self.interval)),
            "difference": None if self.difference is None else dict(vars(self.difference)),
            "verdict": self.verdict,
            "missing": list(self.missing),
            "not_finite": list(self.not_finite),
            "reliability": self.reliability,
        }


@dataclass(frozen=True)
class Group:
    """Every criterion's numbers for one quantity.

    Attributes:
        quantity: what is compared.
        images: number of images behind each value (the fewest, where they differ).
        arms: one per criterion, in the comparison's order, those without a value included.
    """

    quantity: Quantity
    images: int
    arms: tuple[Arm, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.quantity._asdict(),
            "direction": direction(self.quantity.metric),
            "n": self.images,
            "arms": [arm.to_json() for arm in self.arms],
        }


@dataclass(frozen=True)
class Comparison:
    """Criteria against a baseline.

    Attributes:
        baseline: its label.
        criteria: all labels, in order.
        level: of every interval; a verdict is a two-sided test at 1 - level.
        groups: one per quantity, in the records' order.
        notes: what does not show in the numbers.
    """

    baseline: str
    criteria: tuple[str, ...]
    level: float
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, without NaN or infinity."""
        return {
            "baseline": self.baseline,
            "criteria": list(self.criteria),
            "level": self.level,
            "notes": list(self.notes),
            "groups": [group.to_json() for group in self.groups],
        }


def direction(metric: str) -> Direction:
    """Whether more of a metric is better; neutral for what is neither, such as a temperature."""
    name = metric.rpartition(".")[2].removesuffix("_calibrated")
    if name in _LOWER:
        return "lower"
    return "higher" if name in _HIGHER or name.endswith("accuracy") else "neutral"


def compare_records(
    rows: Iterable[Mapping[str, Any]],
    baseline: str,
    *,
    criteria: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Comparison:
    """Compare criteria with a baseline, quantity by quantity.

    What is missing stays visible: a criterion without a value is an arm without an interval, a
    seed without a record is named in its arm, and where the baseline has none the rest is shown
    without differences.

    Args:
        rows: flat records (`hugbench.results.records.COLUMNS`; their `run_id` is not looked at).
        baseline: the label to compare with.
        criteria: every label that should appear, in order; by default as the rows come.
        seeds: seeds that every arm should have; by default those that any arm has.
    """
    table = Cells()
    for row in rows:
        table.add(row)
    labels = tuple(dict.fromkeys([*(criteria or ()), *table.criteria]))
    groups = tuple(_group(table, quantity, labels, baseline, seeds) for quantity in table.cells)
    absent = [block for block, found in table.seen.items() if baseline not in found]
    notes = [f"no run of the baseline {baseline} is finished for {named(block)}" for block in absent]
    return Comparison(baseline, labels, LEVEL, groups, (*notes, *table.clashes))


def _group(
    table: Cells, quantity: Quantity, labels: tuple[str, ...], baseline: str, seeds: Sequence[int] | None
) -> Group:
    expected = table.seeds[quantity.block] if seeds is None else set(seeds)
    reference = table.values(quantity, baseline)
    arms = []
    for label in labels:
        values = table.values(quantity, label)
        difference = None
        if label != baseline and values and reference:
            difference = paired_difference(values, reference, LEVEL)
        arms.append(
            Arm(
                label,
                values,
                mean_interval(list(values.values()), LEVEL) if values else None,
                difference,
                "baseline" if label == baseline else _verdict(difference, quantity, table, label, baseline),
                table.missing(quantity, label, expected),
                table.not_finite(quantity, label),
                table.reliability.get((quantity, label)),
            )
        )
    return Group(quantity, table.images[quantity], tuple(arms))


def _verdict(
    difference: Paired | None, quantity: Quantity, table: Cells, label: str, baseline: str
) -> Verdict:
    alpha, better = 1 - LEVEL, direction(quantity.metric)
    if "FAIL" in (table.reliability.get((quantity, name)) for name in (label, baseline)):
        return "unreliable"
    if difference is None or difference.mean is None or difference.p_value is None:
        return "not testable"
    if difference.mean == difference.low == difference.high == 0:
        return "identical"
    if not difference.can_reach(alpha):
        return "not testable"
    if difference.p_value > alpha:
        return "undecided"
    if better == "neutral":
        return "differs"
    return "better" if (difference.mean > 0) == (better == "higher") else "worse"
