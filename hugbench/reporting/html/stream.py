"""A class-incremental stream: its numbers, the accuracy matrix, and how it goes with every experience."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from hugbench.reporting.html.courses import legend_of, panels_of, spot
from hugbench.reporting.html.elements import Figure, Item, Section, Table
from hugbench.reporting.html.heat import Grid, heat
from hugbench.reporting.html.judged import PER_CENT, judged
from hugbench.reporting.html.lines import Axes, Curve
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Row, any_of, means_table, seeds_of
from hugbench.reporting.stream import LEGEND, NUMBERS
from hugbench.reporting.tables import mean_and_half_width
from hugbench.results.cells import Block, Quantity
from hugbench.results.statistics import Interval, mean_interval
from hugbench.results.stream import summarise
from hugbench.suite.moments import EXPERIENCE, SEEN

Course = dict[str, dict[int, Interval]]
"""By criterion: a mean over seeds after each experience."""


@dataclass(frozen=True)
class Stream:
    """What accuracy after every experience there is in a block.

    Attributes:
        length: how many experiences.
        cells: R[i][j] of every criterion by (i, j); i from 0 (untrained) where it was measured.
        seen: accuracy on the classes seen so far, by i.
    """

    length: int
    cells: Mapping[tuple[int, int], Row]
    seen: Mapping[int, Row]

    def forgetting(self, criterion: str) -> dict[int, Interval]:
        """Forgetting as if the stream ended after i, by i from 2, by the definition of the whole stream's."""
        by_seed: dict[int, dict[int, dict[int, float]]] = {}
        for (i, j), row in self.cells.items():
            for seed, value in row[criterion].values.items():
                by_seed.setdefault(seed, {}).setdefault(i, {})[j] = value
        found = {}
        for last in range(2, self.length + 1):
            ended = [summarise(matrix, {}, last).get("forgetting") for matrix in by_seed.values()]
            values = [value for value in ended if value is not None]
            if values:
                found[last] = mean_interval(values)
        return found


def stream_section(material: Material, block: Block) -> Section | None:
    """Nothing outside a stream, or where it was evaluated at its end only."""
    items: list[Item] = []
    if not material.numbers.last[block]:
        return None
    for evaluation in material.numbers.evaluations(block, "accuracy"):
        places = material.numbers.ended(block, evaluation)
        for metric in ("average_incremental_accuracy", "forgetting"):
            row = places.get((metric, "clean", "all", None))
            if row is not None:
                items += judged(material, row, metric.replace("_", " "))
        others = {
            title: row
            for metric, title in NUMBERS.items()
            if (row := places.get((metric, "clean", "all", None)))
        }
        if others:
            items.append(means_table(others, material.report.criteria))
        stream = _stream(material, block, evaluation)
        if stream.seen:
            items.append(_courses(material, stream))
        if stream.cells:
            items.append(_matrices(material, stream))
    return Section("Class-incremental stream", items) if items else None


def _stream(material: Material, block: Block, evaluation: str) -> Stream:
    cells: dict[tuple[int, int], Row] = {}
    seen: dict[int, Row] = {}
    for of, row in material.numbers.rows.items():
        if of.experience is None or not _clean_accuracy(of, block, evaluation):
            continue
        if of.subset.startswith(EXPERIENCE):
            cells[of.experience, int(of.subset.removeprefix(EXPERIENCE))] = row
        elif of.subset == SEEN:
            seen[of.experience] = row
    return Stream(material.numbers.last[block], dict(sorted(cells.items())), dict(sorted(seen.items())))


def _clean_accuracy(of: Quantity, block: Block, evaluation: str) -> bool:
    place = (of.block, of.evaluation, of.metric, of.condition, of.severity)
    return place == (block, evaluation, "accuracy", "clean", None)


def _courses(material: Material, stream: Stream) -> Figure:
    """Accuracy on the classes seen so far, and forgetting, after every experience."""
    criteria = list(any_of(stream.seen))
    seen = {
        name: {i: found for i, row in stream.seen.items() if (found := row[name].interval)}
        for name in criteria
    }
    forgetting = {name: stream.forgetting(name) for name in criteria} if stream.cells else {}
    courses = {"accuracy on the classes seen so far": seen, "forgetting": forgetting}
    panels = [
        panel
        for title, course in courses.items()
        if any(course.values())
        for panel in _charts(material, title, course, stream.length)
    ]
    steps = range(1, stream.length + 1)
    rows = [
        [name, title, *(mean_and_half_width(course.get(name, {}).get(i), 100) for i in steps)]
        for title, course in courses.items()
        for name in criteria
        if course.get(name)
    ]
    told = [line for row in stream.seen.values() for line in row.values()]
    return Figure(
        "After every experience",
        panels,
        Table(["criterion", "%", *map(str, steps)], rows, words=2),
        legend=legend_of(material, criteria),
        caption=f"{LEGEND.partition(' `')[0]} Bars: {100 * material.report.level:g} % Student t-intervals "
        f"over {seeds_of(told)}.",
    )


def _charts(material: Material, title: str, course: Course, length: int) -> list[tuple[str, Markup]]:
    curves = {
        name: Curve(
            name,
            material.looks[name],
            tuple(
                spot(i, found, told=f"{name}, after {i}: {mean_and_half_width(found, 100)}")
                for i, found in sorted(means.items())
            ),
        )
        for name, means in course.items()
        if means
    }
    places = tuple((i, str(i)) for i in range(1, length + 1))
    limits = PER_CENT if title.startswith("accuracy") else None
    return panels_of(material, title, curves, Axes("experience", f"{title} %", places, limits))


def _matrices(material: Material, stream: Stream) -> Figure:
    """R[i][j] of every criterion, mean over seeds."""
    after = sorted({i for i, _ in stream.cells})
    columns = range(1, stream.length + 1)
    criteria = list(any_of(stream.cells))
    panels, rows = [], []
    for name in criteria:
        means = [[_mean(stream.cells.get((i, j)), name) for j in columns] for i in after]
        names = ["before" if i == 0 else str(i) for i in after]
        grid = Grid(
            names, list(map(str, columns)), means, 100.0, across="accuracy % on experience", down="after"
        )
        drawn = heat(
            f"Accuracy matrix of {name}",
            "Rows: after which experience; columns: on whose classes.",
            grid,
        )
        panels.append((name, drawn))
        rows += [
            [name, row, *("-" if value is None else f"{value:.1f}" for value in values)]
            for row, values in zip(names, means, strict=True)
        ]
    told = [line for row in stream.cells.values() for line in row.values()]
    return Figure(
        "Accuracy matrix",
        panels,
        Table(["criterion", "after", *(f"on {j}" for j in columns)], rows, words=2),
        caption="Row: after which experience; column: on the test images of whose classes; mean over "
        f"{seeds_of(told)}.",
        size="medium",
    )


def _mean(row: Row | None, criterion: str) -> float | None:
    found = None if row is None else row[criterion].interval
    return None if found is None else 100 * found.mean
