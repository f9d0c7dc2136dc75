"""Calibration: reliability diagrams, and the error as images get worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from hugbench.reporting.html.axes import Box, Scale, below, beside
from hugbench.reporting.html.courses import curves_of, legend_of, panels_of
from hugbench.reporting.html.elements import Figure, Item, Section, Table
from hugbench.reporting.html.judged import PER_CENT, judged
from hugbench.reporting.html.lines import Axes, span_of
from hugbench.reporting.html.markup import Paint, tag
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.numbers import Place, Row, evidence, first, shown
from hugbench.reporting.html.svg import DASHES, Look, drawing, line, path, swatch
from hugbench.results.cells import Block
from hugbench.results.corruption import CLEAN, CORRUPTED

ERROR = "expected_calibration_error"
NAME = "expected calibration error"
CALIBRATED = "_calibrated"
KINDS = {"as it is": "", "at T": CALIBRATED}
FEWEST = 10
"""Images in a bin from which on it is joined to its neighbours."""

SIDE = 210.0

AS_IT_IS = Look("var(--c0)", None, "circle")
AT_T = Look("var(--c1)", DASHES[1], "diamond")

Bins = Mapping[str, list[float]]
"""counts, confidences and accuracies of the bins of a diagram."""


def calibration_section(material: Material, block: Block) -> Section | None:
    """Every calibration evaluation at the end of the runs."""
    items: list[Item] = []
    for evaluation in material.numbers.evaluations(block, "calibration"):
        places = material.numbers.ended(block, evaluation)
        for (metric, condition, *_), row in places.items():
            if first(row).primary:
                name = metric.replace("_", " ")
                items += judged(material, row, name if condition == CLEAN else f"{name}, {condition}")
        shifts = {told: _by_severity(places, f"{ERROR}{suffix}") for told, suffix in KINDS.items()}
        shifts = {told: rows for told, rows in shifts.items() if len(rows) > 1}
        if shifts:
            items.append(_under_shift(material, shifts))
        if figure := _diagrams(material, block, evaluation, places):
            items.append(figure)
    return Section("Calibration", items) if items else None


def _by_severity(places: Mapping[Place, Row], metric: str) -> dict[int, Row]:
    """Clean images as severity 0, then the mean over corruptions at each."""
    found = {
        severity: row
        for (name, condition, subset, severity), row in places.items()
        if (name, condition, subset) == (metric, CORRUPTED, "all") and severity is not None
    }
    clean = places.get((metric, CLEAN, "all", None))
    return dict(sorted({**({} if clean is None else {0: clean}), **found}.items()))


def _under_shift(material: Material, shifts: Mapping[str, Mapping[int, Row]]) -> Figure:
    """The error over severity: as the probabilities are, and at the temperature of clean images."""
    panels, cells, told = [], [], []
    levels = sorted({level for rows in shifts.values() for level in rows})
    names = ["clean" if level == 0 else str(level) for level in levels]
    axes = Axes("severity, mean over corruptions", f"{NAME} %", tuple(enumerate(names)), PER_CENT)
    drawn = {
        kind: curves_of(material, {levels.index(level): row for level, row in rows.items()})
        for kind, rows in shifts.items()
    }
    everything = [curve for curves in drawn.values() for curve in curves.values()]
    shared = replace(axes, span=span_of(everything, PER_CENT)) if everything else axes
    for kind, rows in shifts.items():
        if curves := drawn[kind]:
            panels += [(kind, chart) for _, chart in panels_of(material, f"{NAME}, {kind}", curves, shared)]
        cells += [
            [name, kind, *(shown(rows[level][name]) if level in rows else "-" for level in levels)]
            for name in curves
        ]
        told += [line for row in rows.values() for line in row.values()]
    return Figure(
        "Calibration error under corruption",
        panels,
        Table(["criterion", "", *names], cells, words=2),
        legend=legend_of(material, {name: None for curves in drawn.values() for name in curves}),
        caption="At T: softmax(logits / T), T fitted on clean held-out training images; for bounded logits "
        f"it is all there is. {evidence(told, material.report.level)}",
    )


def _diagrams(
    material: Material, block: Block, evaluation: str, places: Mapping[Place, Row]
) -> Figure | None:
    """One diagram for each criterion, a line for each seed, clean images, bins of equal width."""
    found: dict[str, dict[bool, list[Bins]]] = {}
    for run, details in material.details(block, evaluation):
        for diagram in details.get("diagrams", []):
            if diagram["condition"] == CLEAN:
                kinds = found.setdefault(run.label, {})
                kinds.setdefault(diagram["calibrated"], []).append(diagram["equal_width"])
    if not found:
        return None
    panels = [(name, _diagram(name, kinds)) for name, kinds in found.items()]
    rows: list[list[str]] = []
    for name, kinds in found.items():
        for calibrated, several in sorted(kinds.items()):
            metric = f"{ERROR}{CALIBRATED if calibrated else ''}"
            row = places.get((metric, CLEAN, "all", None))
            error = shown(row[name]) if row and name in row else "-"
            gaps = [_gap(bins) for bins in several]
            told = f"{min(gaps):+.1f} to {max(gaps):+.1f}" if len(gaps) > 1 else f"{gaps[0]:+.1f}"
            rows.append([name, "at T" if calibrated else "as is", str(len(several)), error, told])
    return Figure(
        "Reliability diagrams",
        panels,
        Table(
            ["criterion", "", "seeds", "expected calibration error %", "confidence − accuracy, points"],
            rows,
            words=2,
        ),
        legend=[(swatch(AS_IT_IS), "as it is"), (swatch(AT_T), "at T"), (_diagonal(), "calibrated")],
        caption="Clean test images in bins of equal width by confidence: the share that is right against the "
        "mean confidence, a line for each seed; dots grow with the images in a bin, and those of fewer than "
        f"{FEWEST} are not joined. Below the diagonal it is too sure.",
        size="small",
    )


def _gap(bins: Bins) -> float:
    """Mean confidence minus accuracy of all images, in points."""
    total = sum(bins["counts"])
    pairs = zip(bins["counts"], bins["confidences"], bins["accuracies"], strict=True)
    return 100 * sum(count * (sure - right) for count, sure, right in pairs) / total


def _diagram(name: str, kinds: Mapping[bool, list[Bins]]) -> Markup:
    box = Box(36, 22, SIDE - 14, SIDE - 34)
    across, up = Scale(0, 100, box.left, box.right), Scale(0, 100, box.bottom, box.top)
    parts = [
        below(box, across, "confidence %", [(value, str(value)) for value in (0, 50, 100)]),
        beside(box, up, "accuracy %"),
        line((across(0), up(0)), (across(100), up(100)), class_="at"),
    ]
    for calibrated, several in sorted(kinds.items()):
        look = AT_T if calibrated else AS_IT_IS
        for bins in several:
            parts += _seed(bins, look, across, up)
    return drawing(
        f"Reliability diagram of {name}",
        "Accuracy against mean confidence by bin, a line for each seed.",
        (SIDE, SIDE),
        *parts,
    )


def _seed(bins: Bins, look: Look, across: Scale, up: Scale) -> list[Markup]:
    filled: list[tuple[Any, ...]] = [
        row for row in zip(bins["counts"], bins["confidences"], bins["accuracies"], strict=True) if row[0]
    ]
    places = [(across(100 * sure), up(100 * right)) for _, sure, right in filled]
    paint: Paint = {"fill": "none", "stroke": look.colour, "stroke_width": 1.2, "stroke_opacity": 0.8}
    joined = [place for (count, *_), place in zip(filled, places, strict=True) if count >= FEWEST]
    parts = [path(joined, stroke_dasharray=look.dash, **paint)] if len(joined) > 1 else []
    total = sum(bins["counts"])
    for (count, _, _), (x, y) in zip(filled, places, strict=True):
        radius = 0.8 + 4 * (count / total) ** 0.5
        parts.append(tag("circle", cx=x, cy=y, r=radius, fill=look.colour, fill_opacity=0.55))
    return parts


def _diagonal() -> Markup:
    return tag(
        "svg",
        line((1, 6), (27, 6), class_="at"),
        aria_hidden="true",
        viewBox="0 0 28 12",
        width="28",
        height="12",
    )
