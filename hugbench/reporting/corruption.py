"""The tables of corruption: mean corruption error with a verdict, mCE, accuracy by family of corruptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import RenderableType
from rich.text import Text

from hugbench.evaluations.corruption.arguments import FAMILIES, described
from hugbench.reporting.ending import Block, Place, tables_at_the_end
from hugbench.reporting.judged import caption, judged_table, means_table
from hugbench.reporting.stream import stream_numbers
from hugbench.reporting.tables import mean_and_half_width
from hugbench.results.comparison import Arm, Comparison, Group
from hugbench.results.corruption import CLEAN, CORRUPTED, EVALUATION
from hugbench.results.statistics import mean_interval

MOST_KINDS = 5
"""Up to so many kinds have a column each; more are shown by family."""

FREQUENCIES = ("many", "medium", "few")


def corruption_tables(comparison: Comparison) -> dict[Block, list[RenderableType]]:
    """What the corruption evaluations found at the end of each block's runs, each with its caption."""
    return tables_at_the_end(comparison, EVALUATION, _tables)


def _tables(comparison: Comparison, groups: Mapping[Place, Group]) -> list[RenderableType]:
    main = groups.get(("mean_corruption_error", CORRUPTED, "all", None))
    if main is None:
        return []
    kinds = {
        condition: group
        for (metric, condition, subset, severity), group in groups.items()
        if (metric, subset, severity) == ("accuracy", "all", None) and condition not in (CLEAN, CORRUPTED)
    }
    whole = {
        metric: group
        for (metric, condition, subset, _), group in groups.items()
        if (condition, subset) == (CORRUPTED, "all") and metric != "accuracy"
    }
    return [
        Text(main.quantity.evaluation, style="bold"),
        judged_table(comparison, main, "corruption error %"),
        Text(),
        *means_table(main, _beside(groups)),
        *means_table(main, _by_family(kinds)),
        *means_table(main, _by_frequency(groups)),
        *means_table(main, stream_numbers(whole)),
        Text(f"{caption(comparison, main)} {_legend(comparison.baseline, groups, kinds)}", style="dim"),
        Text(),
    ]


def _beside(groups: Mapping[Place, Group]) -> dict[str, list[str]]:
    """Accuracy on clean images, and the errors normalised by the baseline's, in per cent."""
    titles = {
        ("accuracy", CLEAN, "all", None): "clean accuracy %",
        ("mCE", CORRUPTED, "all", None): "mCE %",
        ("relative_mCE", CORRUPTED, "all", None): "relative mCE %",
    }
    return {title: _cells(groups[place]) for place, title in titles.items() if place in groups}


def _by_family(kinds: Mapping[str, Group]) -> dict[str, list[str]]:
    """Accuracy, mean over the severities, of every kind where these are few, else of their families."""
    if len(kinds) <= MOST_KINDS:
        return {f"{kind} %": _cells(group) for kind, group in kinds.items()}
    columns = {}
    for family, members in FAMILIES.items():
        rows = [kinds[kind].arms for kind in members if kind in kinds]
        if rows:
            columns[f"{family} %"] = [_mean_over_kinds(arms) for arms in zip(*rows, strict=True)]
    return columns


def _mean_over_kinds(arms: Iterable[Arm]) -> str:
    """Of one criterion: the mean over kinds within each seed that has them all, then over seeds."""
    values = [arm.values for arm in arms]
    seeds = set.intersection(*(set(found) for found in values))
    means = [sum(found[seed] for found in values) / len(values) for seed in sorted(seeds)]
    return mean_and_half_width(mean_interval(means) if means else None, 100)


def _by_frequency(groups: Mapping[Place, Group]) -> dict[str, list[str]]:
    """Corruption error on the classes with many, medium and few training images."""
    places = {name: ("mean_corruption_error", CORRUPTED, name, None) for name in FREQUENCIES}
    return {f"error on {name} %": _cells(groups[at]) for name, at in places.items() if at in groups}


def _legend(baseline: str, groups: Mapping[Place, Group], kinds: Mapping[str, Group]) -> str:
    """What the columns are, and over which corruptions."""
    severities = sorted({severity for *_, severity in groups if severity is not None})
    sentences = [
        f"Corruption error: mean of 1 - accuracy over {described(list(kinds), severities)}.",
        f"mCE: over the error of {baseline} at the same corruption; relative: of what each loses there.",
    ]
    ratios = [group for (metric, *_), group in groups.items() if metric in ("mCE", "relative_mCE")]
    if any(arm.not_finite for group in ratios for arm in group.arms):
        sentences.append(f"No ratio where {baseline} has no error, or loses nothing, at a corruption.")
    if len(kinds) > MOST_KINDS:
        named = ", ".join(family.removesuffix(" %") for family in _by_family(kinds))
        sentences.append(f"{named}: accuracy, mean over these corruptions and severities.")
    return " ".join(sentences)


def _cells(group: Group) -> list[str]:
    return [mean_and_half_width(arm.interval, 100) for arm in group.arms]
