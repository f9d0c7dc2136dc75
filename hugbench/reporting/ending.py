"""What an evaluation found at the end of each block's runs, out of all groups of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import RenderableType

from hugbench.reporting.judged import seeds_named
from hugbench.results.comparison import Comparison, Group

Block = tuple[str, str, str, str]
Place = tuple[str, str, str, int | None]
"""Metric, condition, subset, severity."""


def at_the_end(comparison: Comparison, name: str) -> dict[Block, dict[str, dict[Place, Group]]]:
    """Groups by place, by evaluation as the suite labels it, by block.

    Args:
        comparison: all of it.
        name: of the evaluation in the registry.
    """
    last: dict[Block, int] = {}
    for group in comparison.groups:
        of = group.quantity
        last[of.block] = max(last.get(of.block, 0), of.experience or 0)
    found: dict[Block, dict[str, dict[Place, Group]]] = {}
    for group in comparison.groups:
        of = group.quantity
        named = of.evaluation.partition("(")[0] == name
        if named and of.epoch is None and (of.experience or 0) == last[of.block]:
            groups = found.setdefault(of.block, {}).setdefault(of.evaluation, {})
            groups[of.metric, of.condition, of.subset, of.severity] = group
    return found


def tables_at_the_end(
    comparison: Comparison,
    name: str,
    tables: Callable[[Comparison, Mapping[Place, Group]], list[RenderableType]],
) -> dict[Block, list[RenderableType]]:
    """What evaluations found at the end, as tables, by block.

    Args:
        comparison: all of it.
        name: of the evaluation in the registry.
        tables: of the groups of one evaluation.
    """
    return {
        block: [part for groups in evaluations.values() for part in tables(comparison, groups)]
        for block, evaluations in at_the_end(comparison, name).items()
    }


def seeds_told(comparison: Comparison, group: Group) -> str:
    """Which seeds a table of means is over, and what its intervals are."""
    seeds = sorted({seed for arm in group.arms for seed in arm.values})
    told = seeds_named(seeds)
    interval = f" ±: {100 * comparison.level:g} % Student t-intervals over seeds." if len(seeds) > 1 else ""
    return f"{told[0].upper()}{told[1:]}.{interval}"
