"""The answer, on top: what may be said of every criterion, at a glance and in a sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from markupsafe import Markup

from hugbench.reporting.html.elements import Cell, Item, Prose, Section, Table
from hugbench.reporting.html.markup import joined, tag
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, first, named, scaled, shown
from hugbench.reporting.sheets import sentence, verdict_text
from hugbench.reporting.tables import is_fraction
from hugbench.results.contrasts import Contrast, Verdict
from hugbench.results.corruption import CLEAN, CORRUPTED

SIGNS = {
    "baseline": "",
    "better": "▲",
    "worse": "▼",
    "differs": "≠",
    "equal": "≈",
    "identical": "=",
    "undecided": "?",
    "not testable": "?",
    "unreliable": "✕",
    "no result": "–",
    "no baseline": "–",
}
PLAIN = ("accuracy", "adversarial", "calibration")
"""Evaluations whose metrics speak for themselves."""

MOST_OPEN = 24
"""Up to so many sentences are shown without being asked for."""


def verdict_section(material: Material) -> Section:
    """What each question came to, a table at a glance, and a sentence for each criterion."""
    rows = material.numbers.primary()
    if not rows:
        return Section("Verdict", [Prose(["No evaluation here has a number that verdicts are on."])])
    closed = sum(len(row) - 1 for row in rows) > MOST_OPEN
    blocks = {
        block: [row for row in rows if first(row).quantity.block == block]
        for block in material.numbers.blocks
    }
    parts = [
        Section(named(block), _items(material, members, closed=closed))
        for block, members in blocks.items()
        if members
    ]
    return Section("Verdict", parts[0].items) if len(parts) == 1 else Section("Verdict", parts=parts)


def _items(material: Material, rows: Sequence[Row], *, closed: bool) -> list[Item]:
    heads = [_head(row) for row in rows]
    summaries = [_summary(row, head) for row, head in zip(rows, heads, strict=True)]
    items: list[Item] = [Prose(summaries, listed=True, kind="verdicts")]
    if len(material.report.criteria) > 1:
        items += [_glance(material, rows, heads), _sentences(rows, heads, closed=closed)]
    return items


def badge(line: Contrast) -> Markup:
    """The verdict as a sign and in words."""
    return _badge(line.verdict, f"{SIGNS[line.verdict]} {verdict_text(line)}".strip())


def _badge(verdict: str, *words: str) -> Markup:
    return tag("span", *words, class_=f"badge {verdict.replace(' ', '-')}")


def _summary(row: Row, head: str) -> Markup:
    """Which criteria are better, which worse, and so on."""
    groups: dict[str, list[str]] = {}
    for line in row.values():
        groups.setdefault(line.verdict, []).append(line.criterion)
    told: list[str] = [
        Markup("{} {}").format(_badge(verdict, f"{SIGNS[verdict]} {verdict}"), ", ".join(groups[verdict]))
        for verdict in get_args(Verdict)
        if verdict in groups and verdict != "baseline"
    ]
    alone = [f"{line.criterion} {shown(line)}, nothing to compare it with" for line in row.values()]
    return tag("strong", head) + Markup(": ") + Markup("; ").join(told or alone)


def _glance(material: Material, rows: Sequence[Row], heads: Sequence[str]) -> Table:
    """A row for each criterion, a column for each question."""
    cells: list[list[Cell]] = [
        [name, *(_cell(row[name]) if name in row else "" for row in rows)]
        for name in material.report.criteria
        if name != material.report.baseline
    ]
    caption = f"Difference to {material.report.baseline}, of fractions in percentage points, paired by seed."
    signs = {line.verdict for row in rows for line in row.values()} - {"baseline"}
    legend = ", ".join(f"{SIGNS[verdict]} {verdict}" for verdict in get_args(Verdict) if verdict in signs)
    return Table(["criterion", *heads], cells, caption=f"{caption} {legend}.")


def _cell(line: Contrast) -> Cell:
    found = line.difference
    if found is None or found.mean is None:
        return badge(line)
    scale = scaled(line.quantity.metric)
    number = f"{scale * found.mean:+.2f}" if is_fraction(line.quantity.metric) else f"{found.mean:+.3g}"
    return _badge(line.verdict, number, " ", tag("span", SIGNS[line.verdict], title=line.verdict))


def _head(row: Row) -> str:
    """What a question is: evaluation and metric as far as they say something, and the condition."""
    of = first(row).quantity
    metric = of.metric.replace("_", " ")
    if of.evaluation.startswith(f"{metric}("):
        return of.evaluation
    own = of.evaluation in PLAIN or of.evaluation in metric
    corrupted = of.evaluation == "corruption" and of.condition == CORRUPTED
    condition = [] if of.condition == CLEAN or corrupted else [of.condition]
    return " · ".join([*([] if own else [of.evaluation]), metric, *condition])


def _sentences(rows: Sequence[Row], heads: Sequence[str], *, closed: bool) -> Prose:
    """Every verdict in words and numbers, question by question."""
    told: list[Cell] = []
    for row, head in zip(rows, heads, strict=True):
        found = [
            tag("li", _badge(line.verdict, SIGNS[line.verdict]), " ", sentence(line))
            for line in row.values()
            if line.verdict != "baseline"
        ]
        if found:
            told.append(tag("strong", head) + tag("ul", joined(found), class_="sentences"))
    return Prose(told, listed=True, kind="plain closed" if closed else "plain")
