"""What an evaluation that is asked at every moment found on the way: a curve over epochs or experiences."""

from __future__ import annotations

from collections.abc import Mapping

from hugbench.reporting.html.courses import curves_of, legend_of, panels_of
from hugbench.reporting.html.elements import Figure, Section, Table
from hugbench.reporting.html.judged import PER_CENT
from hugbench.reporting.html.lines import Axes
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, evidence, first, shown
from hugbench.reporting.tables import is_fraction
from hugbench.results.cells import Block, Quantity
from hugbench.suite.moments import SEEN

Course = Mapping[int, Row]
"""A quantity by epoch or experience, ascending."""


def moments_section(material: Material, block: Block) -> Section | None:
    """The fractions that verdicts are on, wherever there is more than the end; a stream's accuracy apart."""
    figures = []
    stream = bool(material.numbers.last[block])
    for row in material.numbers.primary():
        of = first(row).quantity
        if of.block == block and is_fraction(of.metric) and not (stream and of.evaluation == "accuracy"):
            course = _in_stream(material, of) if stream else _by_epoch(material, of)
            if len(course) > 1:
                figures.append(_figure(material, of, course, "experience" if stream else "epoch"))
    return Section("On the way", figures) if figures else None


def _by_epoch(material: Material, end: Quantity) -> dict[int, Row]:
    """At every snapshot, and at the end."""
    rows = material.numbers.rows
    found = {of.epoch: row for of, row in rows.items() if of.epoch and of._replace(epoch=None) == end}
    if not found:
        return {}
    epochs = [int(run.specification()["recipe"]["epochs"]) for run in material.runs if run.block == end.block]
    return dict(sorted({**found, max(epochs): rows[end]}.items()))


def _in_stream(material: Material, end: Quantity) -> dict[int, Row]:
    """After every experience, of the classes seen so far where there is such a number."""
    found: dict[int, Row] = {}
    for of, row in material.numbers.rows.items():
        same = of._replace(experience=end.experience, subset="all") == end
        finer = of._replace(subset=SEEN) in material.numbers.rows
        if of.experience and same and of.subset == (SEEN if finer else "all"):
            found[of.experience] = row
    return dict(sorted(found.items()))


def _figure(material: Material, of: Quantity, course: Course, across: str) -> Figure:
    curves = curves_of(material, course)
    condition = "" if of.condition == "clean" else f", {of.condition}"
    name = f"{of.metric.replace('_', ' ')}{condition}"
    places = tuple((x, str(x)) for x in course) if across == "experience" else None
    lines = [line for row in course.values() for line in row.values()]
    seen = "; of the classes seen so far" if any(line.quantity.subset == SEEN for line in lines) else ""
    return Figure(
        f"{name[0].upper()}{name[1:]} by {across}",
        panels_of(material, f"{name} by {across}", curves, Axes(across, f"{name} %", places, PER_CENT)),
        Table(
            ["criterion", *(f"{across} {x}" for x in course)],
            [[one, *(shown(row[one]) if one in row else "-" for row in course.values())] for one in curves],
        ),
        legend=legend_of(material, curves),
        caption=f"{of.evaluation}{seen}. {evidence(lines, material.report.level)}",
    )
