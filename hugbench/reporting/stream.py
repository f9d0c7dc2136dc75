"""The columns of a class-incremental stream: its numbers, and the accuracy on the classes seen so far."""

from __future__ import annotations

from collections.abc import Mapping

from hugbench.reporting.tables import mean_and_half_width
from hugbench.results.comparison import Comparison, Group
from hugbench.suite.moments import SEEN

NUMBERS = {
    "average_incremental_accuracy": "average incremental %",
    "forgetting": "forgetting %",
    "backward_transfer": "backward transfer %",
    "task_incremental_accuracy": "task-incremental %",
}
"""Metrics of a stream, in order, and what their columns are called."""

LEGEND = (
    "Average incremental: mean over experiences of the accuracy on the classes seen so far; forgetting: "
    "best earlier accuracy on an experience's classes minus the last; task-incremental: among the "
    "classes of an image's own experience. `hugbench records` has the accuracy matrix."
)


def stream_numbers(table: Mapping[str, Group]) -> dict[str, list[str]]:
    """The numbers of a stream, by column; none outside a stream."""
    return {
        title: [mean_and_half_width(arm.interval, 100) for arm in table[metric].arms]
        for metric, title in NUMBERS.items()
        if metric in table
    }


def seen_after_each(comparison: Comparison, group: Group) -> dict[str, list[str]]:
    """The accuracy on the classes seen so far after every experience that was evaluated, by column."""
    groups = {found.quantity: found for found in comparison.groups}
    last = group.quantity.experience or 0
    places = [group.quantity._replace(experience=number, subset=SEEN) for number in range(1, last + 1)]
    if group.quantity.subset != "all" or not all(place in groups for place in places):
        return {}
    return {f"seen after {place.experience}": _means(groups[place]) for place in places}


def _means(group: Group) -> list[str]:
    return [mean_and_half_width(arm.interval, 100) for arm in group.arms]
