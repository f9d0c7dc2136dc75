"""The runs of a plan, finished or not, and their records under the plan's labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hugbench.errors import CorruptFile
from hugbench.results.cells import Block
from hugbench.results.corruption import corruption_rows, is_corruption
from hugbench.results.records import COLUMNS, unreadable
from hugbench.results.store import RunFolder, Status
from hugbench.results.stream import stream_rows
from hugbench.suite.plan import Plan, asked

Row = dict[str, Any]

Specification = Mapping[str, Any]
"""What a run's `run.yaml` holds."""

_EMPTY: Row = dict.fromkeys(COLUMNS)

Keep = Callable[[str, list[Row], int | None], list[Row]]
"""Of an evaluation (its label) the records to keep; the last is how many experiences its stream has."""


@dataclass(frozen=True)
class Measured:
    """A run that is asked about, and what it is called.

    Attributes:
        folder: where it lies.
        status: what of it is finished.
        label: its criterion's label.
        block: with which other runs it is compared.
        seed: its seed.
        questions: label of each evaluation that is asked of it, by key.
        experiences: of its class-incremental stream; None outside one.
        specification: gives the whole of it.
    """

    folder: RunFolder
    status: Status
    label: str
    block: Block
    seed: int
    questions: Mapping[str, str]
    experiences: int | None
    specification: Callable[[], Specification] = field(compare=False)


def planned_runs(plan: Plan, root: Path) -> list[Measured]:
    """Every run of a plan under every label that it has there."""
    folders: dict[str, tuple[RunFolder, Status]] = {}
    found = []
    for planned in plan.runs:
        run = planned.run
        if run.run_id not in folders:
            folder = RunFolder(root, run.run_id)
            folders[run.run_id] = folder, folder.status()
        found.append(
            Measured(
                *folders[run.run_id],
                planned.label,
                (run.dataset.name, run.model.backbone, run.protocol.label, planned.variant),
                run.seed,
                {question.key: question.spec.label for question in asked(planned, plan.evaluations)},
                run.protocol.experiences,
                run.resolved,
            )
        )
    return found


def records_of(
    runs: Iterable[Measured], baseline: str | None, keep: Keep = lambda _, rows, __: rows
) -> tuple[list[Row], list[str]]:
    """All of `each_record`, and a sentence for each file that is damaged or cannot be read."""
    damaged: dict[str, None] = {}
    return list(each_record(runs, baseline, damaged, keep)), list(damaged)


def each_record(
    runs: Iterable[Measured],
    baseline: str | None,
    damaged: dict[str, None],
    keep: Keep = lambda _, rows, __: rows,
) -> Iterator[Row]:
    """The finished records of runs, one run after the other.

    The numbers of a class-incremental stream (`hugbench.results.stream`) follow the records of its run;
    what is normalised by the baseline (`hugbench.results.corruption`) follows all.

    Args:
        runs: whose records.
        baseline: its label; None for none.
        damaged: gets a sentence for each file that is damaged or cannot be read.
        keep: which of them; all by default.
    """
    errors: list[Row] = []
    experiences: dict[str, int | None] = {}
    for run in runs:
        experiences[run.folder.run_id] = run.experiences
        for evaluation, stored in _by_evaluation(run, damaged).items():
            if run.experiences is None and not is_corruption(evaluation):
                yield from _labelled(run, evaluation, keep(evaluation, stored, None))
                continue
            whole = list(_labelled(run, evaluation, stored))
            if run.experiences is not None:
                whole += stream_rows(whole, run.experiences)
            if is_corruption(evaluation):
                errors += whole
            yield from keep(evaluation, whole, run.experiences)
    for row in corruption_rows(errors, baseline) if baseline is not None else ():
        yield from keep(row["evaluation"], [row], experiences[row["run_id"]])


def _by_evaluation(run: Measured, damaged: dict[str, None]) -> dict[str, list[Row]]:
    """The finished records of a run as they are stored, by evaluation's label; adds to `damaged`."""
    found: dict[str, list[Row]] = {}
    for key, evaluation in run.questions.items():
        if key not in run.status.evaluations:
            continue
        try:
            rows = run.folder.records(run.status, key)
        except CorruptFile as error:
            damaged[str(error)] = None
            continue
        if reason := unreadable(rows):
            damaged[f"{run.folder.records_file(key)}: {reason}"] = None
        else:
            found.setdefault(evaluation, []).extend(rows)
    return found


def _labelled(run: Measured, evaluation: str, rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with all columns and no other, under the run's labels."""
    labels = {"criterion": run.label, "variant": run.block[3], "evaluation": evaluation}
    for row in rows:
        found = {**_EMPTY, **row, **labels}
        found.pop("schema", None)
        yield found if len(found) == len(COLUMNS) else {name: found[name] for name in COLUMNS}
