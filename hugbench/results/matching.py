"""Which records of a suite a reference can judge, and in sentences why not the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hugbench.results.cells import Block, named
from hugbench.results.measured import Measured
from hugbench.results.provenance import checksums, evaluation_keys
from hugbench.results.references import Reference
from hugbench.suite.plan import SPEC_VERSION, Plan

Row = Mapping[str, Any]

Arm = tuple[Block, str]
"""A criterion in a block."""


@dataclass
class Match:
    """What can be compared.

    Attributes:
        reference: records of the reference that have a counterpart or give the spread of one that has.
        rows: those of the suite.
        gaps: sentences on what cannot be judged.
        notes: sentences on what is only another way round.
    """

    reference: list[Row]
    rows: list[Row]
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, applies: Mapping[Hashable, Any] | set[Any], key: Any) -> None:
        """Leave out the records whose key is among some, and say why."""
        self.gaps.append(reason)
        self.reference = [row for row in self.reference if key(row) not in applies]
        self.rows = [row for row in self.rows if key(row) not in applies]


def matched(reference: Reference, plan: Plan, runs: Sequence[Measured], rows: Iterable[Row]) -> Match:
    """The records of both sides that are of the same thing.

    Args:
        reference: as read.
        plan: of the suite.
        runs: the suite's, finished or not.
        rows: its records.
    """
    header = reference.header
    match = Match(list(reference.rows), list(rows))
    if header["suite"] != plan.suite:
        match.gaps.append(f"the reference is of suite {header['suite']}, not {plan.suite}")
    _states(match, runs)
    _data(match, header, runs)
    _baseline(match, header, plan)
    _evaluations(match, header, plan)
    _blocks(match)
    _criteria(match)
    _specifications(match, header)
    _seeds(match, runs)
    _numbers(match)
    return match


def arm(row: Row) -> Arm:
    """Whose record it is."""
    return (row["dataset"], row["backbone"], row["protocol"], row["variant"]), row["criterion"]


def _states(match: Match, runs: Iterable[Measured]) -> None:
    distinct = list({run.folder.run_id: run for run in runs}.values())
    failed = [run for run in distinct if run.status.state == "failed"]
    match.gaps += [f"{run.label}, seed {run.seed} failed: {run.status.error}" for run in failed]
    left = sum(run.status.lacks(list(run.questions)) for run in distinct) - len(failed)
    if left:
        match.gaps.append(f"{left} of {len(distinct)} runs are not finished (hugbench run)")


def _data(match: Match, header: Mapping[str, Any], runs: Iterable[Measured]) -> None:
    for name, checksum in checksums(run for run in runs if run.status.state == "trained").items():
        frozen = header["datasets"].get(name, {}).get("sha256")
        if frozen is not None and frozen != checksum:
            reason = (
                f"{name} has other images than the reference's (sha256 {checksum[:10]}…, not {frozen[:10]}…)"
            )
            match.drop(reason, {name}, lambda row: row["dataset"])


def _baseline(match: Match, header: Mapping[str, Any], plan: Plan) -> None:
    if header["baseline"] != plan.baseline:
        reason = (
            f"the reference's baseline is {header['baseline']}, not {plan.baseline}: no number relative to it"
        )
        match.drop(reason, {True}, lambda row: row["reference"] is not None)


def _evaluations(match: Match, header: Mapping[str, Any], plan: Plan) -> None:
    frozen, now = header["evaluations"], evaluation_keys(plan)
    for label in dict.fromkeys([*frozen, *now]):
        if label not in now:
            reason = f"evaluation {label} of the reference is not in the suite"
        elif label not in frozen:
            reason = f"evaluation {label} is not in the reference"
        elif frozen[label] != now[label]:
            reason = f"evaluation {label} has other arguments than in the reference"
        else:
            continue
        match.drop(reason, {label}, lambda row: row["evaluation"])


def _blocks(match: Match) -> None:
    """Data sets, backbones, protocols and variants that one side lacks."""
    before, now = ({arm(row)[0] for row in side} for side in (match.reference, match.rows))
    for block in sorted(before ^ now):
        side = "the reference" if block in before else "the suite"
        reason = f"only {side} has numbers on {named(block)}"
        match.drop(reason, {block}, lambda row: arm(row)[0])


def _criteria(match: Match) -> None:
    before, now = ({row["criterion"] for row in side} for side in (match.reference, match.rows))
    for criterion in sorted(before ^ now):
        side = "the reference" if criterion in before else "the suite"
        match.drop(f"only {side} has numbers of {criterion}", {criterion}, lambda row: row["criterion"])


def _specifications(match: Match, header: Mapping[str, Any]) -> None:
    """Models that are specified otherwise; with another SPEC_VERSION nobody can tell, and names count."""
    if header["spec_version"] != SPEC_VERSION:
        match.notes.append(
            f"the reference has SPEC_VERSION {header['spec_version']}, and this is {SPEC_VERSION}: models "
            "are matched by their names alone, and defaults may have changed on purpose"
        )
        return
    frozen = {(arm(row), row["seed"]): row["run_id"] for row in match.reference}
    differing = {
        arm(row) for row in match.rows if frozen.get((arm(row), row["seed"]), row["run_id"]) != row["run_id"]
    }
    for block, criterion in sorted(differing):
        reason = f"{criterion}, {named(block)}: the model is specified otherwise than in the reference"
        match.drop(reason, {(block, criterion)}, arm)


def _seeds(match: Match, runs: Sequence[Measured]) -> None:
    """Criteria without a seed in common, or with seeds that only one side has."""
    before, now = _seeds_of(match.reference), _seeds_of(match.rows)
    apart = {which for which in before.keys() & now.keys() if not before[which] & now[which]}
    for which in sorted(apart):
        block, criterion = which
        seeds = f"{_listed(before[which])} in the reference, {_listed(now[which])} now"
        match.drop(f"{criterion}, {named(block)}: no seed in common ({seeds})", {which}, arm)
    known = {seed for seeds in before.values() for seed in seeds}
    if known and (others := {run.seed for run in runs} - known):
        match.notes.append(f"seeds {_listed(others)} are not in the reference: they only tell the spread")


def _seeds_of(rows: Iterable[Row]) -> dict[Arm, set[int]]:
    found: dict[Arm, set[int]] = defaultdict(set)
    for row in rows:
        found[arm(row)].add(row["seed"])
    return found


def _numbers(match: Match) -> None:
    """Single numbers that one side lacks, of criteria and evaluations that both have."""
    before, now = ({_number(row): row for row in side} for side in (match.reference, match.rows))
    both = {_place(row) for row in match.reference} & {_place(row) for row in match.rows}
    gone = [row for key, row in before.items() if key not in now and _place(row) in both]
    lacking = {_place(row) for row in match.reference} - both
    for (block, criterion), evaluation in sorted(lacking):
        match.gaps.append(f"{criterion}, {named(block)}: no numbers of {evaluation} now")
    if gone:
        told = ", ".join(
            dict.fromkeys(f"{row['evaluation']} {row['metric']} {row['condition']}" for row in gone[:3])
        )
        match.gaps.append(
            f"numbers of the reference that are not there now ({len(gone)}): {told}{', …' * (len(gone) > 3)}"
        )
    new = sum(key not in before for key in now)
    if new:
        match.notes.append(f"not in the reference, and not judged: {new} numbers")


def _place(row: Row) -> tuple[Arm, str]:
    return arm(row), row["evaluation"]


def _number(row: Row) -> tuple[Any, ...]:
    columns = ("evaluation", "metric", "condition", "severity", "experience", "epoch", "subset")
    return (arm(row), *(row[name] for name in columns))


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
