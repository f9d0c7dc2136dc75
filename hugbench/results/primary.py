"""Which numbers answer a suite's question first: a verdict is given on these, the others are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRIMARY: dict[str, tuple[str, ...]] = {
    "accuracy": ("accuracy", "average_incremental_accuracy", "forgetting"),
    "collapse": (),
}
"""Metrics by evaluation, most telling first. An evaluation that is not here has its first metric."""


def primary_metrics(evaluation: str, first: str) -> tuple[str, ...]:
    """The primary metrics of an evaluation.

    Args:
        evaluation: name or label, such as `accuracy(split=validation)`.
        first: the metric of its first record.
    """
    return PRIMARY.get(evaluation.partition("(")[0], (first,))


def at_end(row: Mapping[str, Any], experiences: int | None) -> bool:
    """Whether a record is of all images at the end of its run, no part of a finer breakdown."""
    return (
        row["subset"] == "all"
        and row["severity"] is None
        and row["epoch"] is None
        and row["experience"] in (None, experiences)
    )
