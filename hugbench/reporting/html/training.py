"""Training curves: accuracy on the training images of every criterion, and each one's own loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hugbench.reporting.html.courses import legend_of, panels_of
from hugbench.reporting.html.elements import Figure, Section, Table
from hugbench.reporting.html.lines import Axes, Curve, Spot, lines
from hugbench.reporting.html.material import Json, Material, json_lines
from hugbench.reporting.tables import duration
from hugbench.results.cells import Block
from hugbench.results.measured import Measured

MOST_SPOTS = 60
SMALL = (200.0, 150.0)

Course = dict[int, list[float]]
"""The value of every seed that got there, by epoch from 1."""


def training_section(material: Material, block: Block) -> Section | None:
    """From the training logs of all runs, those of failed and unfinished ones, too."""
    logs = {
        name: [log for run in runs if (log := json_lines(run.folder.log))]
        for name, runs in material.members(block).items()
    }
    logs = {name: found for name, found in logs.items() if found}
    if not logs:
        return None
    accuracy = {name: _course(found, "accuracy", 100) for name, found in logs.items()}
    loss = {name: _course(found, "loss", 1) for name, found in logs.items()}
    figures = [
        figure for figure in (_accuracies(material, accuracy), _losses(material, loss)) if figure is not None
    ]
    return Section("Training", [*figures, _speed(material.members(block), logs)])


def _course(logs: Sequence[Sequence[Json]], name: str, scale: float) -> Course:
    found: Course = {}
    for log in logs:
        for row in log:
            value = row.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(int(row["epoch"]) + 1, []).append(scale * value)
    return found


def _curve(material: Material, name: str, course: Course) -> Curve:
    """Mean and range over seeds, at no more epochs than a chart can show."""
    epochs = sorted(course)
    step = -(-len(epochs) // MOST_SPOTS)
    kept = [epoch for place, epoch in enumerate(epochs) if place % step == 0 or epoch == epochs[-1]]
    spots = tuple(
        Spot(epoch, sum(found) / len(found), min(found), max(found))
        for epoch in kept
        if (found := course[epoch])
    )
    return Curve(name, material.looks[name], spots)


def _accuracies(material: Material, courses: Mapping[str, Course]) -> Figure | None:
    curves = {name: _curve(material, name, course) for name, course in courses.items() if course}
    if not curves:
        return None
    title, limits = "Accuracy on training images", (0.0, 100.0)
    axes = Axes("epoch", "accuracy on training images %", None, limits)
    return Figure(
        title,
        panels_of(material, f"{title} by epoch", curves, axes, bands=True),
        _table(courses, "{:.2f}"),
        legend=legend_of(material, curves),
        caption="Mean over seeds; band: from the lowest to the highest seed. As training saw the images, "
        "augmented, while the weights moved.",
    )


def _losses(material: Material, courses: Mapping[str, Course]) -> Figure | None:
    panels = []
    for name, course in courses.items():
        if course:
            curve = _curve(material, name, course)
            chart = lines(
                f"Loss of {name} by epoch",
                "Mean over seeds, with the range over seeds.",
                [curve],
                Axes("epoch", "loss"),
                bands=True,
                size=SMALL,
            )
            panels.append((name, chart))
    if not panels:
        return None
    return Figure(
        "Loss",
        panels,
        _table(courses, "{:.4g}"),
        caption="Every criterion's own: the axes differ, and the heights say nothing against each other.",
        size="small",
    )


def _table(courses: Mapping[str, Course], form: str) -> Table:
    """Mean over seeds at ten epochs or fewer."""
    epochs = sorted({epoch for course in courses.values() for epoch in course})
    step = -(-len(epochs) // 10)
    kept = [epoch for place, epoch in enumerate(epochs) if place % step == 0 or epoch == epochs[-1]]
    rows = [
        [name, *(_cell(course.get(epoch, []), form) for epoch in kept)] for name, course in courses.items()
    ]
    return Table(["criterion", *(f"epoch {epoch}" for epoch in kept)], rows)


def _cell(values: Sequence[float], form: str) -> str:
    return form.format(sum(values) / len(values)) if values else "-"


def _speed(members: Mapping[str, Sequence[Measured]], logs: Mapping[str, Sequence[Sequence[Json]]]) -> Table:
    """How long training took, and how fast it was."""
    rows = []
    for name, found in logs.items():
        seconds = [run.status.seconds for run in members[name] if run.status.state == "trained"]
        speeds = [row["images_per_second"] for log in found for row in log if "images_per_second" in row]
        epochs = {len(log) for log in found}
        rows.append(
            [
                name,
                str(len(found)),
                " or ".join(map(str, sorted(epochs))),
                duration(sum(seconds) / len(seconds)) if seconds else "-",
                f"{sorted(speeds)[len(speeds) // 2]:,.0f}" if speeds else "-",
            ]
        )
    return Table(
        ["criterion", "runs", "epochs", "training time", "images per second"],
        rows,
        caption="Training time: mean of the trained runs; images per second: median over epochs.",
    )
