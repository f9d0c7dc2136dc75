"""Which numbers answer a suite's question: verdicts are on these, the others are there on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hugbench.results.cells import Block, Quantity

PRIMARY: dict[str, tuple[str, ...]] = {
    "accuracy": ("accuracy", "average_incremental_accuracy"),
    "adversarial": ("robust_accuracy",),
    "calibration": ("expected_calibration_error",),
    "collapse": (),
    "corruption": ("mean_corruption_error",),
}
"""Metrics by evaluation, most telling first. An evaluation that is not here has its first metric.

Forgetting is none of them: what was never learnt is not forgotten either.
"""

CONDITIONS = {"calibration": ("clean", "corrupted"), "corruption": ("corrupted",)}
"""Conditions that are no breakdown, by evaluation; of others all are, but those with a colon."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """Which numbers are shown.

    Attributes:
        metrics: these only, primary or not; any where empty.
        evaluations: these only, by name or label; any where empty. One without a primary metric is shown
            whole when it is named.
        everything: every metric, and every breakdown (subset, severity, moment), not the primary ones over
            all images at the end only.
    """

    metrics: tuple[str, ...] = ()
    evaluations: tuple[str, ...] = ()
    everything: bool = False

    def of_evaluation(self, label: str) -> bool:
        """Whether anything of an evaluation is shown."""
        return not self.evaluations or bool({label.partition("(")[0], label} & set(self.evaluations))

    def keep(self, evaluation: str, rows: list[Row], experiences: int | None) -> list[Row]:
        """Of the records of one evaluation of one run, those that are shown."""
        name = evaluation.partition("(")[0]
        if not self.of_evaluation(evaluation):
            return []
        if self.metrics:
            rows = [row for row in rows if row["metric"] in self.metrics]
        elif not self.everything and rows:
            primary = primary_metrics(name, rows[0]["metric"])
            if primary or not self.evaluations:
                rows = [row for row in rows if row["metric"] in primary]
        return rows if self.everything else [row for row in rows if is_whole(name, row, experiences)]


def primary_metrics(evaluation: str, first: str) -> tuple[str, ...]:
    """The primary metrics of an evaluation by name, `first` being the metric of its first record."""
    return PRIMARY.get(evaluation, (first,))


def primary_of(quantities: Iterable[Quantity]) -> set[Quantity]:
    """Which quantities are primary, of those that there are, in the order of the records."""
    known = list(quantities)
    first: dict[str, str] = {}
    last: dict[Block, int] = {}
    for quantity in known:
        first.setdefault(quantity.evaluation, quantity.metric)
        last[quantity.block] = max(last.get(quantity.block, 0), quantity.experience or 0)
    found = set()
    for quantity in known:
        name = quantity.evaluation.partition("(")[0]
        primary = primary_metrics(name, first[quantity.evaluation])
        if quantity.metric in primary and is_whole(name, quantity._asdict(), last[quantity.block]):
            found.add(quantity)
    return found


def is_whole(evaluation: str, row: Mapping[str, Any], experiences: int | None) -> bool:
    """Whether a record is of all images at the end of its run, no part of a finer breakdown.

    Args:
        evaluation: by name.
        row: the record.
        experiences: of its run's stream; None outside one.
    """
    conditions = CONDITIONS.get(evaluation)
    return (
        row["subset"] == "all"
        and row.get("severity") is None
        and row.get("epoch") is None
        and row.get("experience") in (None, experiences)
        and (":" not in row["condition"] if conditions is None else row["condition"] in conditions)
    )
