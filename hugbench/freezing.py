"""The verb `freeze`: the records of a finished suite become the reference for later code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hugbench
from hugbench import api
from hugbench.errors import UserError
from hugbench.results.measured import Measured, planned_runs, records_of
from hugbench.results.provenance import (
    checksums,
    environments,
    evaluation_keys,
    images_used,
    suite_sha256,
)
from hugbench.results.references import FOLDER, Row, guarded, write_reference
from hugbench.suite.plan import SPEC_VERSION, Plan


@dataclass(frozen=True)
class Frozen:
    """A reference that was written: where, how much, and what a reader of it has to know."""

    file: Path
    records: int
    runs: int
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "file": str(self.file),
            "records": self.records,
            "runs": self.runs,
            "remarks": list(self.remarks),
        }


def freeze(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    out: str | Path | None = None,
    everything: bool = False,
    partial: bool = False,
    force: bool = False,
) -> Frozen:
    """Write the records of a finished suite, seed by seed and with their provenance, as its reference.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        settings: overrides, each `path=value`.
        seeds: instead of the suite's.
        criteria: criteria to add.
        data: the data folder.
        results: where its runs lie.
        out: the file; `baselines/reference/SUITE.jsonl` by default.
        everything: every record, not only those worth guarding (`hugbench.results.references.guarded`).
        partial: also where runs are not finished or have failed; the reference says so.
        force: replace a reference that is there.

    Raises:
        UserError: bad input, the suite is not finished, or the file is there.
    """
    loaded = api.validate(suite, settings=settings, seeds=seeds, criteria=criteria, data=data)
    plan, root = api.planned(loaded, data, Path(results), False)
    file = Path(out) if out is not None else FOLDER / f"{plan.suite}.jsonl"
    if file.exists() and not force:
        raise UserError(
            "there is a reference already", where=file, expected="another --out, or --force to replace it"
        )
    runs = planned_runs(plan, root)
    rows, damaged = records_of(
        runs,
        plan.baseline,
        lambda _, found, experiences: [row for row in found if everything or guarded(row, experiences)],
    )
    missing = [*_missing(runs), *damaged]
    if missing and not (partial and rows):
        raise UserError(
            f"the suite is not finished: {'; '.join(missing[:3])}",
            where=root,
            expected=f"hugbench run {suite} first, or --partial" if rows else f"hugbench run {suite} first",
        )
    remarks = [*_remarks(plan, runs), *(f"partial: {text}" for text in missing)]
    header = _header(plan, runs, remarks, "all" if everything else "guarded")
    try:
        write_reference(file, header, rows)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where=file) from None
    return Frozen(file, len(rows), len({row["run_id"] for row in rows}), tuple(remarks))


def _missing(runs: Sequence[Measured]) -> list[str]:
    """What of a suite is not there, in sentences."""
    distinct = list({run.folder.run_id: run for run in runs}.values())
    failed = [
        f"{run.label}, seed {run.seed} failed: {run.status.error}"
        for run in distinct
        if run.status.state == "failed"
    ]
    left = sum(run.status.lacks(list(run.questions)) for run in distinct) - len(failed)
    return [*([f"{left} of {len(distinct)} runs are missing"] if left else []), *failed]


def _header(plan: Plan, runs: Sequence[Measured], remarks: Sequence[str], scope: str) -> Row:
    distinct = {run.folder.run_id: run for run in runs if run.status.state == "trained"}
    used = {planned.run.dataset.name: images_used(planned.run) for planned in plan.runs}
    sums = checksums(distinct.values())
    return {
        "suite": plan.suite,
        "suite_sha256": suite_sha256(plan),
        "spec_version": SPEC_VERSION,
        "hugbench": hugbench.__version__,
        "frozen": datetime.now(UTC).isoformat(timespec="seconds"),
        "remarks": list(remarks),
        "baseline": plan.baseline,
        "criteria": list(plan.labels),
        "seeds": list(plan.seeds),
        "scope": scope,
        "training_seconds": round(sum(run.status.seconds for run in distinct.values()), 1),
        "datasets": {name: {"sha256": sums.get(name), **images} for name, images in used.items()},
        "environments": environments(distinct.values()),
        "evaluations": evaluation_keys(plan),
    }


def _remarks(plan: Plan, runs: Sequence[Measured]) -> list[str]:
    """What a reader of the numbers has to know: the devices, and what was left out of the data."""
    found = environments({run.folder.run_id: run for run in runs}.values())
    devices = dict.fromkeys(str(each.get("device_name")) for each in found)
    cpu = bool(found) and all(each.get("device") == "cpu" for each in found)
    remarks = [f"run on {'a CPU only' if cpu else 'these devices'}: {', '.join(devices) or 'unknown'}"]
    if any(str(each.get("git_revision")).endswith("+changes") for each in found):
        remarks.append("run from a checkout with changes that its revision does not have")
    for name, used in {planned.run.dataset.name: images_used(planned.run) for planned in plan.runs}.items():
        for part, noun in (("train", "training"), ("test", "test")):
            whole, some = used[part], used[f"{part}_used"]
            if whole and some and some < whole - (used["held_out"] or 0) * (part == "train"):
                remarks.append(
                    f"{name} at reduced size: {some:,} of {whole:,} {noun} images ({some / whole:.0%})"
                )
    return remarks
