"""The verb `check`: the numbers of a suite against its reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugbench import api
from hugbench.reporting.judged import counted
from hugbench.reporting.tables import is_fraction
from hugbench.results.cells import Cells
from hugbench.results.drift import ALPHA, Change, drift
from hugbench.results.matching import matched
from hugbench.results.measured import planned_runs, records_of
from hugbench.results.provenance import environments, same_environment
from hugbench.results.records import COLUMNS
from hugbench.results.references import guarded, read_reference, reference_file


@dataclass(frozen=True)
class CheckReport:
    """What a check came to.

    Attributes:
        suite: its name.
        file: the reference's.
        header: the reference's.
        changes: every number that both sides have.
        gaps: sentences on what could not be checked.
        notes: sentences that a reader should know.
        same_environment: whether versions, hardware and threads are the reference's, so that every bit should
            be.
        alpha: the chance of a false alarm.
    """

    suite: str
    file: Path
    header: Mapping[str, Any]
    changes: tuple[Change, ...]
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    same_environment: bool
    alpha: float = ALPHA

    @property
    def moved(self) -> list[Change]:
        """What moved, for the better or the worse."""
        return [change for change in self.changes if change.moved]

    @property
    def exit_code(self) -> int:
        """1 if anything moved, 2 if anything could not be checked, else 0."""
        return 1 if self.moved else 2 if self.gaps or not self.changes else 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.suite,
            "file": str(self.file),
            "reference": dict(self.header),
            "exit_code": self.exit_code,
            "moved": len(self.moved),
            "identical": sum(change.verdict == "identical" for change in self.changes),
            "same_environment": self.same_environment,
            "alpha": self.alpha,
            "gaps": list(self.gaps),
            "notes": list(self.notes),
            "changes": [change.to_json() for change in self.changes],
        }


def check(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    reference: str | Path | None = None,
) -> CheckReport:
    """Hold the numbers of a suite against its reference; `hugbench.results.drift` has the rule.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        settings: overrides, each `path=value`.
        seeds: instead of the suite's; those of the reference that are not among them still tell the spread.
        criteria: criteria to add.
        data: the data folder.
        results: where its runs lie.
        reference: the file; `baselines/reference/SUITE.jsonl` by default.

    Raises:
        UserError: bad input; there is no reference, or it cannot be read.
    """
    loaded = api.validate(suite, settings=settings, seeds=seeds, criteria=criteria, data=data)
    plan, root = api.planned(loaded, data, Path(results), False)
    found = read_reference(Path(reference) if reference is not None else reference_file(plan.suite))
    whole = found.header["scope"] == "all"
    runs = planned_runs(plan, root)
    rows, damaged = records_of(
        runs,
        plan.baseline,
        lambda _, some, experiences: [row for row in some if whole or guarded(row, experiences)],
    )
    match = matched(found, plan, runs, rows)
    changes = drift(_cells(match.reference), _cells(match.rows), is_fraction)
    finished = [run for run in runs if run.status.state == "trained"]
    same = same_environment(found.header["environments"], environments(finished))
    notes = [
        *_remarks(found.header),
        *match.notes,
        *_reliability(match.reference, match.rows),
        *_not_finite(match.reference, match.rows),
    ]
    gaps = tuple(dict.fromkeys([*damaged, *match.gaps]))
    return CheckReport(plan.suite, found.file, found.header, tuple(changes), gaps, tuple(notes), same)


def _cells(rows: Iterable[Mapping[str, Any]]) -> Cells:
    cells = Cells()
    for row in rows:
        cells.add(row)
    return cells


def _remarks(header: Mapping[str, Any]) -> list[str]:
    return [
        f"the reference was {remark}" if remark.startswith("run") else remark for remark in header["remarks"]
    ]


def _not_finite(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on numbers that are finite on one side only of a seed, as a ratio to nothing may be."""
    sides = [{_place(row): row for row in side} for side in (before, now)]
    shared = [key for key in sides[0] if key in sides[1]]
    some = [key for key in shared if (sides[0][key]["value"] is None) != (sides[1][key]["value"] is None)]
    if not some:
        return []
    row = sides[0][some[0]]
    where = f"{row['criterion']}, {row['protocol']}, {row['metric']}, seed {row['seed']}"
    told = f"{counted(len(some), 'value')} finite on one side only, and left out there"
    return [f"{told} ({where})"]


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in COLUMNS[: COLUMNS.index("value")] if name != "run_id")


def _reliability(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on figures whose own checks came to another verdict."""
    verdicts = [_cells(side).reliability for side in (before, now)]
    differing = [key for key, verdict in verdicts[0].items() if verdicts[1].get(key, verdict) != verdict]
    if not differing:
        return []
    quantity, criterion = differing[0]
    told = f"{verdicts[0][differing[0]]} before, {verdicts[1][differing[0]]} now"
    where = f"{criterion}, {quantity.protocol}, {quantity.condition}"
    return [f"the reliability of {len(differing)} figures is another one ({where}: {told})"]
