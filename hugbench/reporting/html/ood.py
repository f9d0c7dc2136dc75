"""Out-of-distribution detection: how well each score tells the test images from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hugbench.reporting.html.elements import Item, Prose, Section, Table
from hugbench.reporting.html.judged import judged
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Place, Row, evidence, first, shown
from hugbench.reporting.ood import CAPTION, METRICS, SCORES, SETS
from hugbench.results.cells import Block


def ood_section(material: Material, block: Block) -> Section | None:
    """Every out-of-distribution evaluation at the end of the runs."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, "ood"):
        places = material.numbers.ended(block, evaluation)
        for (metric, condition, *_), main in places.items():
            if first(main).primary:
                items += judged(
                    material, main, f"{metric.replace('.', ' ').upper()} against {condition} sets"
                )
        for metric, title in METRICS.items():
            found = {
                (kind, score): row
                for kind in SETS
                for score, names in SCORES.items()
                if (row := _first(places, [f"{name}.{metric}" for name in names], kind))
            }
            if not found:
                continue
            scores = [score for score in SCORES if any(score == name for _, name in found)]
            rows = [
                [name, kind, *(shown(found[kind, s][name]) if (kind, s) in found else "-" for s in scores)]
                for kind in SETS
                if any(kind == of for of, _ in found)
                for name in material.report.criteria
            ]
            lines = [line for row in found.values() for line in row.values()]
            told = evidence(lines, material.report.level)
            items.append(Table(["criterion", "against", *scores], rows, 2, told, title))
    said = Prose([CAPTION], kind="caption")
    return Section("Out-of-distribution detection", [*items, said]) if items else None


def _first(places: Mapping[Place, Row], metrics: Sequence[str], kind: str) -> Row | None:
    """The first of some metrics that was measured."""
    found = (places.get((metric, kind, "all", None)) for metric in metrics)
    return next((row for row in found if row is not None), None)
