"""Criteria ranked over everything that a comparison shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from hugbench.results.cells import Block, Quantity
from hugbench.results.comparison import direction
from hugbench.results.contrasts import Contrast
from hugbench.results.ranks import Ranking, ranking

RankBy = Literal["quantities", "seeds"]
"""What is one ranking: a quantity, by the mean over seeds; or each of its seeds."""


def rank_criteria(lines: Iterable[Contrast], by: RankBy) -> tuple[Ranking | None, list[str]]:
    """Average ranks over the quantities of which more, or less, is better.

    A criterion without a value is left out; then each block that lacks a value of one that is left. Seeds
    count where all criteria have them.

    Returns:
        The ranking, None with nothing to rank, and what a reader should know.
    """
    table: dict[Quantity, dict[str, Contrast]] = {}
    for line in lines:
        if direction(line.quantity.metric) != "neutral":
            table.setdefault(line.quantity, {})[line.criterion] = line
    everyone = list(dict.fromkeys(name for found in table.values() for name in found))
    criteria = [name for name in everyone if any(name in row and row[name].values for row in table.values())]
    notes = [f"ranks: {name} has no value and is left out" for name in everyone if name not in criteria]
    rows: list[list[float]] = []
    models: list[tuple[Block, int | None]] = []
    for quantity, row in table.items():
        seeds = _shared(row, criteria)
        if not seeds:
            notes.append(
                f"ranks: {quantity.evaluation} {quantity.metric} on {quantity.dataset} is left out: "
                "not every criterion has it on the same seed"
            )
            continue
        sign = 1 if direction(quantity.metric) == "higher" else -1
        for group in [seeds] if by == "quantities" else [[seed] for seed in seeds]:
            rows.append([sign * sum(row[name].values[seed] for seed in group) for name in criteria])
            models.append((quantity.block, group[0] if by == "seeds" else None))
    if not rows or len(criteria) < 2:
        return None, [*notes, "ranks: there is nothing to rank"]
    if len(set(models)) < len(models):
        notes.append("ranks: several rankings are of the same models and not independent: p is too small")
    return ranking(criteria, rows), notes


def _shared(row: dict[str, Contrast], criteria: Sequence[str]) -> list[int]:
    """The seeds on which every criterion has a value."""
    if not all(name in row for name in criteria):
        return []
    return sorted(set.intersection(*(set(row[name].values) for name in criteria)))
