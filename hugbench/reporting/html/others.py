"""Evaluations that the page has no figures for, such as those of a package of one's own."""

from __future__ import annotations

from hugbench.reporting.html.elements import Item, Section
from hugbench.reporting.html.judged import judged
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import first
from hugbench.results.cells import Block

KNOWN = ("accuracy", "adversarial", "calibration", "collapse", "corruption", "ood")


def other_section(material: Material, block: Block) -> Section | None:
    """The primary numbers of every other evaluation, judged."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block):
        if evaluation.partition("(")[0] not in KNOWN:
            for row in material.numbers.ended(block, evaluation).values():
                if first(row).primary:
                    items += judged(material, row, f"{evaluation}: {first(row).quantity.metric}")
    return Section("Other evaluations", items) if items else None
