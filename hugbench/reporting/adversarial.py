"""The tables of robust accuracy: at each eps, the difference to the baseline, and what the cards say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.text import Text

from hugbench.reporting.tables import criteria_table, mean_and_half_width, plain_table
from hugbench.results.cells import RELIABILITY
from hugbench.results.comparison import Arm, Comparison, Group, Quantity
from hugbench.results.statistics import Paired

EVALUATION, ROBUST, CLEAN = "adversarial", "robust_accuracy", "accuracy"
WORST = "worst case"
UNRELIABLE = "unreliable"
CAPTION = (
    "Robust accuracy: images that no attack within eps fooled, an upper bound; ± of {level:g} % Student "
    "t-intervals over seeds, differences in percentage points, paired by seed. card: the worst verdict that "
    "any seed's figure at any eps got from its own checks (hugbench cards has them); what is unreliable is "
    "not judged."
)
_STYLES = {"better": "bold green", "worse": "bold red", "differs": "bold", UNRELIABLE: "bold red"}

Block = tuple[str, str, str, str]


@dataclass
class _Found:
    """One evaluation's groups: without an attack, and by label and norm, then by eps."""

    clean: Group | None = None
    robust: dict[tuple[str, str], dict[str, Group]] = field(default_factory=dict)


def adversarial_tables(comparison: Comparison) -> dict[Block, list[RenderableType]]:
    """What the adversarial evaluations found at the end, as tables with one caption, per block."""
    groups = [group for group in comparison.groups if _shown(group.quantity)]
    last: dict[Block, int] = {}
    for group in groups:
        block = group.quantity.block
        last[block] = max(last.get(block, 0), group.quantity.experience or 0)
    found: dict[Block, dict[str, _Found]] = {}
    for group in groups:
        of = group.quantity
        if (of.experience or 0) != last[of.block]:
            continue
        entry = found.setdefault(of.block, {}).setdefault(of.evaluation, _Found())
        if of.metric == CLEAN:
            entry.clean = group
        else:
            label, norm, eps = of.condition.rsplit(" ", 2)
            entry.robust.setdefault((label, norm), {})[eps] = group
    return {block: _parts(comparison, entries) for block, entries in found.items()}


def _shown(of: Quantity) -> bool:
    named = of.evaluation.partition("(")[0] == EVALUATION and of.metric in (ROBUST, CLEAN)
    return named and of.epoch is None and of.subset == "all"


def _parts(comparison: Comparison, entries: Mapping[str, _Found]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for evaluation, entry in entries.items():
        several = any(label == WORST for label, _ in entry.robust)
        for (label, norm), groups in entry.robust.items():
            images = f"{next(iter(groups.values())).images:,} images"
            parts.append(Text(f"{evaluation} · {label}, {norm} · {images}", style="bold"))
            parts += [_accuracies(entry.clean, groups), Text()]
            if len(comparison.criteria) > 1 and (label == WORST or not several):
                parts += [_differences(comparison.baseline, groups), Text()]
    return [*parts, Text(CAPTION.format(level=100 * comparison.level), style="dim"), Text()]


def _accuracies(clean: Group | None, groups: Mapping[str, Group]) -> RenderableType:
    """One row per criterion: accuracy without an attack and at each eps, the verdict of the cards."""
    shown = {"clean %": clean, **{f"{eps} %": group for eps, group in groups.items()}}
    columns = {name: group.arms for name, group in shown.items() if group is not None}
    table = criteria_table(columns)
    table.add_column("card")
    for row in zip(*columns.values(), strict=True):
        cells = [Text(mean_and_half_width(arm.interval, 100)) for arm in row]
        verdict = _reliability(row)
        table.add_row(Text(row[0].criterion), *cells, Text(verdict, style=_STYLES.get(verdict, "")))
    return table


def _reliability(arms: Sequence[Arm]) -> str:
    """The worst verdict of some figures; empty where none has one."""
    told = [arm.reliability for arm in arms if arm.reliability is not None]
    worst = max(told, key=RELIABILITY.index, default="")
    return UNRELIABLE if worst == "FAIL" else worst


def _differences(baseline: str, groups: Mapping[str, Group]) -> RenderableType:
    """One row per criterion but the baseline: what it is better or worse by at each eps."""
    table = plain_table()
    for name in (f"minus {baseline}", *groups):
        table.add_column(Text(name), overflow="fold")
    for row in zip(*(group.arms for group in groups.values()), strict=True):
        if row[0].criterion != baseline:
            cells = (_difference(arm.difference, arm.verdict) for arm in row)
            table.add_row(Text(row[0].criterion), *cells)
    return table


def _difference(difference: Paired | None, verdict: str) -> Text:
    """`+3.33 ± 1.43 better`."""
    if difference is None or difference.mean is None:
        return Text("-")
    told = f"{100 * difference.mean:+.2f}"
    if difference.low is not None:
        told += f" ± {100 * (difference.mean - difference.low):.2f}"
    return Text.assemble(told, " ", (verdict, _STYLES.get(verdict, "dim")))
