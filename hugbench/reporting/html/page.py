"""The page: sections in order, a table of contents, one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import hugbench
from hugbench.reporting.html.accuracy import accuracy_section
from hugbench.reporting.html.calibration import calibration_section
from hugbench.reporting.html.corruption import corruption_section
from hugbench.reporting.html.elements import Prose, Section
from hugbench.reporting.html.frequency import frequency_section
from hugbench.reporting.html.geometry import geometry_section
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.moments import moments_section
from hugbench.reporting.html.numbers import named
from hugbench.reporting.html.ood import ood_section
from hugbench.reporting.html.others import other_section
from hugbench.reporting.html.provenance import (
    environment_section,
    method_section,
    notes_section,
    runs_section,
    suite_section,
)
from hugbench.reporting.html.robust import robust_section
from hugbench.reporting.html.stream import stream_section
from hugbench.reporting.html.training import training_section
from hugbench.reporting.html.verdicts import verdict_section
from hugbench.results.cells import Block

Part = Callable[[Material, Block], Section | None]

PARTS: tuple[Part, ...] = (
    accuracy_section,
    frequency_section,
    stream_section,
    robust_section,
    corruption_section,
    calibration_section,
    ood_section,
    other_section,
    moments_section,
    geometry_section,
    training_section,
)
"""What is told of each block of models, in order; each part only where there is something."""


def page(material: Material, *, now: datetime | None = None) -> str:
    """A suite's report as HTML: one file that loads nothing.

    Args:
        material: what to tell.
        now: when it is written; the current time by default.
    """
    taken: set[str] = set()
    sections = [section.placed(taken) for section in _sections(material)]
    environment = Environment(
        loader=PackageLoader("hugbench.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=material.plan.suite,
        description=material.description,
        facts=list(_facts(material, now or datetime.now(UTC))),
        sections=sections,
        style=Markup(resources.files(__package__).joinpath("templates/style.css").read_text()),
    )


def _sections(material: Material) -> Iterator[Section]:
    yield verdict_section(material)
    for block in material.numbers.blocks:
        found = [part(material, block) for part in PARTS]
        parts = [section for section in found if section is not None]
        yield Section(named(block), _lacking(material, block), parts)
    for block in dict.fromkeys(run.block for run in material.runs):
        if block not in material.numbers.blocks:
            told = Prose(["No run of these models is finished: there is nothing to show."])
            yield Section(named(block), [told])
    yield method_section(material)
    if (notes := notes_section(material)) is not None:
        yield notes
    yield runs_section(material)
    if (machines := environment_section(material)) is not None:
        yield machines
    yield suite_section(material)


def _lacking(material: Material, block: Block) -> list[Prose]:
    """Sentences on what the suite asks of these models and nobody has measured."""
    there = set(material.numbers.evaluations(block))
    asked = {label: None for run in material.runs if run.block == block for label in run.questions.values()}
    missing = [label for label in asked if label not in there]
    if not missing:
        return []
    return [Prose([f"Not measured yet: {', '.join(missing)}. The rest is shown."], kind="warning")]


def _facts(material: Material, now: datetime) -> Iterator[tuple[str, str]]:
    report = material.report
    done = sum(not run.status.lacks(list(run.questions)) for run in material.runs)
    yield "criteria", f"{len(report.criteria)}, baseline {report.baseline}"
    yield "seeds", ", ".join(map(str, material.plan.seeds))
    yield "runs", f"{done} of {len(material.runs)} done"
    yield "written", f"{now:%Y-%m-%d %H:%M} UTC by hugbench {hugbench.__version__}"
