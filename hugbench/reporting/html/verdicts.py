"""The answer, on top: what may be said of every criterion, at a glance and in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from hugbench.reporting.html.elements import Cell, Item, Prose, Section, Table
from hugbench.reporting.html.markup import tag
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, first, scaled
from hugbench.reporting.sheets import sentence, title, verdict_text, verdicts
from hugbench.reporting.tables import is_fraction
from hugbench.results.contrasts import Contrast

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
MOST_OPEN = 36
"""Up to so many sentences are shown at once."""


def verdict_section(material: Material) -> Section:
    """One line for each question, a table at a glance, and the sentences."""
    rows = material.numbers.primary()
    if not rows:
        return Section("Verdict", [Prose(["No evaluation here has a number that verdicts are on."])])
    shared = dict.fromkeys(line for row in rows for line in _told(material, row))
    sentences = [(row, line) for row in rows for line in row.values() if line.verdict != "baseline"]
    items: list[Item] = [Prose(list(shared), listed=True, kind="verdicts")]
    if len(material.report.criteria) > 1:
        items.append(_glance(material, rows))
    items.append(
        Prose(
            [_sentence(line) for _, line in sentences],
            listed=True,
            kind="sentences" if len(sentences) <= MOST_OPEN else "sentences closed",
        )
    )
    return Section("Verdict", items)


def badge(line: Contrast) -> Markup:
    """The verdict as a sign and in words."""
    sign = SIGNS[line.verdict]
    words = verdict_text(line)
    kind = f"badge {line.verdict.replace(' ', '-')}"
    return tag("span", f"{sign} {words}".strip(), class_=kind)


def _told(material: Material, row: Row) -> Iterator[str]:
    from dataclasses import replace

    yield from verdicts(replace(material.report, contrasts=tuple(row.values())))


def _glance(material: Material, rows: list[Row]) -> Table:
    """A row for each criterion, a column for each question."""
    heads = _heads([title(first(row)) for row in rows])
    cells: list[list[Cell]] = []
    for name in material.report.criteria:
        if name != material.report.baseline:
            cells.append([name, *(_cell(row[name]) if name in row else "" for row in rows)])
    return Table(
        ["criterion", *heads],
        cells,
        caption=f"Difference to {material.report.baseline}, of fractions in percentage points; paired by seed.",
    )


def _cell(line: Contrast) -> Cell:
    found = line.difference
    if found is None or found.mean is None:
        return badge(line)
    scale = scaled(line.quantity.metric)
    number = f"{scale * found.mean:+.2f}" if is_fraction(line.quantity.metric) else f"{found.mean:+.3g}"
    return tag("span", number, " ", tag("span", SIGNS[line.verdict], title=line.verdict), class_=f"badge {line.verdict.replace(' ', '-')}")


def _heads(titles: list[str]) -> list[str]:
    """The titles without the parts that all of them share."""
    split = [name.split(" · ") for name in titles]
    shared = set(split[0]).intersection(*map(set, split)) if len(split) > 1 else set(split[0][:-1])
    heads = [" · ".join(part for part in parts if part not in shared) for parts in split]
    return [head or parts[-1] for head, parts in zip(heads, split, strict=True)]


def _sentence(line: Contrast) -> Markup:
    """The sentence, its verdict in front as a sign."""
    place = " · ".join(part for part in line.quantity.block if part)
    return Markup("{} {} ").format(
        tag("span", SIGNS[line.verdict], class_=f"badge {line.verdict.replace(' ', '-')}", aria_hidden="true"),
        sentence(line),
    ) + tag("span", f"{place} · {line.quantity.evaluation}", class_="quiet")
