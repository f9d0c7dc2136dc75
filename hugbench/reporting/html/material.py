"""Everything that a report is made of: the comparison, and the files of the runs beside their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hugbench.errors import CorruptFile
from hugbench.reporting.html.numbers import Numbers
from hugbench.reporting.html.svg import Look, looks
from hugbench.results.cells import Block
from hugbench.results.contrasts import CompareReport
from hugbench.results.measured import Measured
from hugbench.suite.plan import Plan

Json = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What a report tells.

    Attributes:
        plan: what was asked.
        description: the suite's, in its own words.
        source: the suite's file.
        settings: what overrides it.
        report: every number, judged.
        runs: every run under every label.
        pictures: SVG files of features in the plane.
        said: sentences on what could not be read or drawn; parts add to it.
    """

    plan: Plan
    description: str
    source: Path
    settings: tuple[str, ...]
    report: CompareReport
    runs: tuple[Measured, ...]
    pictures: tuple[Path, ...] = ()
    said: dict[str, None] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> Numbers:
        """The comparison's lines by quantity."""
        return Numbers(self.report, {run.block: run.experiences or 0 for run in self.runs})

    @cached_property
    def looks(self) -> Mapping[str, Look]:
        """How each criterion is drawn."""
        return looks(self.report.criteria, self.report.baseline)

    def members(self, block: Block) -> dict[str, list[Measured]]:
        """The runs of a block by criterion, in the comparison's order, by seed."""
        found: dict[str, list[Measured]] = {name: [] for name in self.report.criteria}
        for run in self.runs:
            if run.block == block:
                found[run.label].append(run)
        return {name: sorted(runs, key=lambda run: run.seed) for name, runs in found.items() if runs}

    def details(self, block: Block, evaluation: str) -> Iterator[tuple[Measured, Json]]:
        """What an evaluation told beside its numbers at the end of each run, where it told anything."""
        for runs in self.members(block).values():
            for run in runs:
                for key, label in run.questions.items():
                    if label == evaluation and "." not in key and key in run.status.evaluations:
                        found = self._details(run, key)
                        if found:
                            yield run, found

    def _details(self, run: Measured, key: str) -> Json:
        try:
            return run.folder.details(run.status, key)
        except CorruptFile as error:
            self.said[str(error)] = None
            return {}


def json_lines(path: Path) -> list[Json]:
    """The objects of a file of JSON lines; a line that is damaged ends it, and no file has none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found: list[Json] = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        found.append(row)
    return found
