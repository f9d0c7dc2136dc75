"""Accuracy on the classes with many, medium and few training images."""

from __future__ import annotations

from hugbench.reporting.html.bars import bars
from hugbench.reporting.html.elements import Figure, Section
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import dot, evidence, images_of, means_table
from hugbench.reporting.terminal import FREQUENCIES, FREQUENCY_LEGEND
from hugbench.results.cells import Block


def frequency_section(material: Material, block: Block) -> Section | None:
    """A chart for each group of classes; nothing where the classes are equally frequent."""
    figures = []
    for evaluation in material.numbers.evaluations(block, "accuracy"):
        places = material.numbers.ended(block, evaluation)
        rows = {name: row for name in FREQUENCIES if (row := places.get(("accuracy", "clean", name, None)))}
        if not rows:
            continue
        ends = [
            100 * (line.interval.high if line.interval.high is not None else line.interval.mean)
            for row in rows.values()
            for line in row.values()
            if line.interval is not None
        ]
        if not ends:
            continue
        highest = min(100.0, max(ends)) or 100.0
        panels = [
            (
                f"{name} ({images_of(row.values())})",
                bars(
                    f"Accuracy on classes with {name} training images",
                    f"A bar for each of {len(row)} criteria.",
                    [dot(line, material.looks[line.criterion]) for line in row.values()],
                    "accuracy %",
                    highest,
                ),
            )
            for name, row in rows.items()
        ]
        lines = [line for row in rows.values() for line in row.values()]
        figures.append(
            Figure(
                "Frequent and rare classes" + ("" if evaluation == "accuracy" else f" · {evaluation}"),
                panels,
                means_table({f"{name} %": row for name, row in rows.items()}, material.report.criteria),
                caption=f"{FREQUENCY_LEGEND} {evidence(lines, material.report.level)}",
                size="medium",
            )
        )
    return Section("Frequent and rare classes", figures) if figures else None
