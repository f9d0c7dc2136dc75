"""The verb `compare`: suites, run folders or results folders in, a table of verdicts out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from hugbench.errors import UserError, nearest
from hugbench.reporting.tables import is_fraction
from hugbench.results.cells import Block, Cells, named
from hugbench.results.contrasts import BEFORE, LEVEL, CompareReport, Contrast
from hugbench.results.judging import Delta, Members, after_before, against_baseline
from hugbench.results.measured import Measured, Row, each_record
from hugbench.results.notes import notes_of
from hugbench.results.predictions import Predictions, with_predictions
from hugbench.results.primary import Choice
from hugbench.results.published import Published, beside
from hugbench.results.rank_tables import RankBy, rank_criteria
from hugbench.results.resampling import DRAWS
from hugbench.targets import Targets, found_runs

DELTA = 0.005
"""Differences in a fraction up to this, half a percentage point, are as good as none."""


def compare(
    *targets: str | Path,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path | Sequence[str | Path] = "results",
    smoke: bool = False,
    baseline: str | None = None,
    evaluations: Iterable[str] = (),
    metrics: Iterable[str] = (),
    everything: bool = False,
    delta: float | Mapping[str, float] = DELTA,
    bootstrap: int = DRAWS,
    ranks: str | None = None,
    published: bool = False,
) -> CompareReport:
    """Compare every criterion with the baseline, or everything before with everything after a change.

    Differences are paired by seed; a verdict is a two-sided test at 5 % after Holm's correction over all
    primary numbers of the models that are compared with each other (the others are corrected apart).

    Args:
        targets: suites (a YAML file, or the name of a shipped one), folders of runs, or results folders. Two
            results folders, or suites with two `results`, are compared criterion by criterion: the first is
            before, the second after.
        settings: overrides of the suites, each `path=value`.
        seeds: instead of the suites'; of run folders these only.
        criteria: criteria to add to the suites.
        data: the data folder, which only a smoke run's plan looks at.
        results: where the suites' runs lie.
        smoke: compare the suites' smoke runs.
        baseline: a criterion's label; by default the first suite's baseline, without a suite the criterion
            of the first run folder, in a results folder cross_entropy.
        evaluations: these only, by name; all by default.
        metrics: these only; the primary ones by default (`hugbench.results.primary`).
        everything: all metrics and all their breakdowns.
        delta: differences up to this are as good as none: a number for all fractions, or by metric.
        bootstrap: draws of the bootstrap over seeds and images; 0 for none.
        ranks: rank the criteria, too: over `quantities` or over `seeds`.
        published: show numbers from papers beside, where data, family of backbones and protocol are the same.

    Raises:
        UserError: bad input, or there is nothing to show.
    """
    if bootstrap < 0:
        raise UserError("not a number of draws", where="--bootstrap", found=bootstrap, expected="0 or more")
    choice = Choice(tuple(metrics), tuple(evaluations), everything)
    tolerance = _tolerance(delta)
    found = found_runs(
        targets,
        [results] if isinstance(results, str | Path) else list(results),
        settings=settings,
        seeds=None if seeds is None else list(seeds),
        criteria=criteria,
        data=data,
        smoke=smoke,
    )
    members = _members(run for runs in found.sides for run in runs)
    if not members:
        raise _nothing(found, choice)
    two = len(found.sides) == 2
    reference = _refuse_baseline(baseline) if two else _baseline(baseline, found, members)
    read = [_read(runs, found.baseline if two else reference, choice) for runs in found.sides]
    there = {metric for side in read for metric in side[2]}
    _refuse_unknown(found, choice, [*delta] if isinstance(delta, Mapping) else [], there)
    if two:
        lines = after_before(read[1][0], read[0][0], members, tolerance)
    else:
        lines = against_baseline(read[0][0], reference, members, tolerance)
    if not lines:
        raise _nothing(found, choice, [note for _, damaged, _ in read for note in damaged])
    predictions = [Predictions(runs) for runs in found.sides]
    lines = with_predictions(lines, predictions[-1], predictions[0], bootstrap)
    ranking, said = (None, []) if ranks is None else rank_criteria(lines, _rankable(ranks, found))
    notes = [
        *found.notes,
        *(note for _, damaged, _ in read for note in damaged),
        *(note for runs in found.sides for note in _unfinished(runs)),
        *_gaps(line for line in lines if line.primary or not everything),
        *(note for side in predictions for note in side.notes),
        *(note for cells, _, _ in read for note in cells.clashes),
        *said,
        *(note for runs in found.sides for note in notes_of(_chosen(runs, choice), moments=everything)),
    ]
    if published and not (papers := _from_papers(found)):
        notes.append("no number from a paper is of the same data, family of backbones and protocol")
    runs = _run_ids(run for runs in found.sides for run in runs)
    return CompareReport(
        reference,
        tuple(runs),
        LEVEL,
        tuple(lines),
        ranking,
        tuple(dict.fromkeys(notes)),
        found.sources,
        runs,
        papers if published else (),
    )


def _from_papers(found: Targets) -> tuple[Published, ...]:
    return tuple(beside(run.specification() for runs in found.sides for run in runs))


def _read(
    runs: Sequence[Measured], baseline: str | None, choice: Choice
) -> tuple[Cells, list[str], set[str]]:
    """The records that are shown, sentences on those that cannot be read, and every metric there is."""
    metrics: set[str] = set()

    def keep(evaluation: str, rows: list[Row], experiences: int | None) -> list[Row]:
        metrics.update(row["metric"] for row in rows)
        return choice.keep(evaluation, rows, experiences)

    damaged: dict[str, None] = {}
    cells = Cells()
    for row in each_record(runs, baseline, damaged, keep):
        cells.add(row)
    return cells, list(damaged), metrics


def _members(runs: Iterable[Measured]) -> dict[Block, Members]:
    members: dict[Block, Members] = {}
    for run in runs:
        block = members.setdefault(run.block, Members())
        block.seeds.add(run.seed)
        if run.label not in block.labels:
            block.labels.append(run.label)
    return members


def _run_ids(runs: Iterable[Measured]) -> dict[str, tuple[str, ...]]:
    """The runs behind each criterion."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        found.setdefault(run.label, {})[run.folder.run_id] = None
    return {label: tuple(ids) for label, ids in found.items()}


def _tolerance(delta: float | Mapping[str, float]) -> Delta:
    """The tolerance by metric; 0 is none."""
    given = delta if isinstance(delta, Mapping) else {"": delta}
    for value in given.values():
        if not (math.isfinite(value) and value >= 0):
            raise UserError("not a tolerance", where="--delta", found=value, expected="a number of 0 or more")
    common = given.get("", DELTA)
    return lambda metric: given.get(metric, common if is_fraction(metric) else 0.0) or None


def _baseline(asked: str | None, found: Targets, members: Mapping[Block, Members]) -> str:
    labels = list(dict.fromkeys(label for block in members.values() for label in block.labels))
    baseline = asked or found.baseline
    if baseline is not None and baseline in labels:
        return baseline
    raise UserError(
        "no such criterion among those compared" if baseline else "which criterion is the baseline?",
        where="--baseline",
        found=baseline,
        expected=f"one of: {', '.join(labels)}",
        nearest=nearest(baseline, labels) if baseline else None,
    )


def _refuse_baseline(asked: str | None) -> str:
    if asked is None:
        return BEFORE
    raise UserError(
        "there is none between two results folders",
        where="--baseline",
        found=asked,
        expected="nothing: each criterion after is compared with itself before",
    )


def _rankable(ranks: str, found: Targets) -> RankBy:
    if len(found.sides) == 2:
        raise UserError("criteria are not ranked between two results folders", where="--ranks", found=ranks)
    known: dict[str, RankBy] = {name: name for name in get_args(RankBy)}
    if ranks in known:
        return known[ranks]
    raise UserError(
        "not what ranks can be over", where="--ranks", found=ranks, expected="quantities or seeds"
    )


def _refuse_unknown(found: Targets, choice: Choice, tolerated: Iterable[str], metrics: set[str]) -> None:
    """Names that nothing has are mistakes; where nothing was measured, nothing has a name."""
    labels = {label for runs in found.sides for run in runs for label in run.questions.values()}
    names = labels | {label.partition("(")[0] for label in labels}
    for option, asked, known in (
        ("--evaluation", choice.evaluations, names),
        ("--metric", choice.metrics, metrics),
        ("--delta", [metric for metric in tolerated if metric and metrics], metrics),
    ):
        for name in asked:
            if name not in known:
                raise UserError(
                    "no run has that",
                    where=option,
                    found=name,
                    expected=f"one of: {', '.join(sorted(known)) or 'nothing'}",
                    nearest=nearest(name, known),
                )


def _nothing(found: Targets, choice: Choice, damaged: Sequence[str] = ()) -> UserError:
    """Why there is no line at all, as an error."""
    runs = [run for side in found.sides for run in side]
    if damaged:
        return UserError(
            f"no number that can be read: {len(damaged)} files are damaged, the first: {damaged[0]}",
            where=", ".join(found.sources),
            expected="hugbench run, which measures again",
        )
    if any(run.status.evaluations for run in runs):
        return UserError(
            "no number over all images at the end of its run"
            if choice.metrics
            else "no primary number to compare",
            where=", ".join(found.sources),
            expected="--all, or another --metric or --evaluation",
        )
    errors = [run.status.error for run in runs if run.status.state == "failed"]
    failed = f"; {len(errors)} failed, the first with: {errors[0]}" if errors else ""
    return UserError(
        f"no run is finished{failed}",
        where=", ".join(found.sources),
        expected=f"finished runs in {', '.join(found.sources.values())} (hugbench run)",
    )


def _unfinished(runs: Sequence[Measured]) -> list[str]:
    """Sentences on runs that failed or are not finished."""
    distinct = list({run.folder.path: run for run in runs}.values())
    notes = [
        f"{run.label}, seed {run.seed} failed: {run.status.error}"
        for run in distinct
        if run.status.state == "failed"
    ]
    left = sum(run.status.state != "failed" and run.status.lacks(list(run.questions)) for run in distinct)
    return [*notes, f"{left} of {len(distinct)} runs are not finished"] if left else notes


def _chosen(runs: Sequence[Measured], choice: Choice) -> list[Measured]:
    """The runs, asked only what is shown."""
    return [
        replace(
            run, questions={key: label for key, label in run.questions.items() if choice.of_evaluation(label)}
        )
        for run in runs
    ]


def _gaps(lines: Iterable[Contrast]) -> list[str]:
    """Sentences on what could not be compared: no baseline, no shared seed, no such evaluation."""
    notes: dict[str, None] = {}
    for line in lines:
        where = f"{named(line.quantity.block)}, {line.quantity.evaluation}"
        if line.verdict == "no baseline":
            absent = f"{line.criterion} before" if line.against == BEFORE else line.against
            notes[f"{where}: nothing of {absent} is finished, so nothing is tested"] = None
        elif line.verdict == "no result":
            notes[f"{where}: {line.criterion} has no number there"] = None
        elif line.difference is not None and not line.difference.seeds:
            ours, theirs = (", ".join(map(str, found)) for found in (line.values, line.reference_values))
            notes[f"{where}: {line.criterion} and {line.against} share no seed ({ours} against {theirs})"] = (
                None
            )
    return list(notes)
