"""Accuracy on clean images at the end of the runs, and the metrics beside it."""

from __future__ import annotations

from hugbench.reporting.html.elements import Item, Section
from hugbench.reporting.html.judged import judged
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import evidence, means_table
from hugbench.reporting.terminal import SECONDARY
from hugbench.results.cells import Block


def accuracy_section(material: Material, block: Block) -> Section | None:
    """Every evaluation of accuracy."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, "accuracy"):
        places = material.numbers.ended(block, evaluation)
        main = places.get(("accuracy", "clean", "all", None))
        if main is None:
            continue
        items += judged(material, main, evaluation, titled=evaluation != "accuracy")
        beside = {
            name: row
            for metric, name in SECONDARY.items()
            if (row := places.get((metric, "clean", "all", None)))
        }
        if beside:
            told = evidence([line for row in beside.values() for line in row.values()], material.report.level)
            items.append(means_table(beside, material.report.criteria, "Beside accuracy", told))
    return Section("Accuracy", items) if items else None
