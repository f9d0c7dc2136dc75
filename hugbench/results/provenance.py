"""Where the numbers of a suite were made, as its runs' folders tell."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hugbench.data.known import KNOWN
from hugbench.results.measured import Measured
from hugbench.suite.plan import Plan, Run, asked

SAME = ("device", "device_name", "threads", "ranks", "python", "packages")
"""What two environments must share for the same code to give the same bits."""


def sessions_of(run: Measured) -> list[dict[str, Any]]:
    """The environments in which a run was trained, one for each time that it was taken up."""
    try:
        found = json.loads((run.folder.path / "environment.json").read_text())["sessions"]
        return [dict(session) for session in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def environments(runs: Iterable[Measured]) -> list[dict[str, Any]]:
    """The distinct environments of runs, each with the number of `runs` that it is of."""
    counts: Counter[str] = Counter()
    for run in runs:
        for told in {_told(session) for session in sessions_of(run)}:
            counts[told] += 1
    return [{**json.loads(told), "runs": count} for told, count in sorted(counts.items())]


def same_environment(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all runs of now were made in an environment that gives the same bits as one of before."""
    known, found = ({_bits(environment) for environment in side} for side in (before, now))
    return bool(found) and found <= known


def checksums(runs: Iterable[Measured]) -> dict[str, str]:
    """The checksum over all images and labels of each data set, by name."""
    found: dict[str, str] = {}
    for run in runs:
        for session in sessions_of(run):
            found[run.block[0]] = str(session.get("data_sha256"))
    return found


def images_used(run: Run) -> dict[str, int | None]:
    """How many images a data set has and a run uses at most; None where only the files know."""
    known, spec = KNOWN.get(run.dataset.name), run.dataset
    if known is None:
        return {
            "train": None,
            "held_out": None,
            "train_used": spec.max_train,
            "test": None,
            "test_used": spec.max_test,
        }
    held = round(spec.validation * known.train)
    left = known.train - held
    return {
        "train": known.train,
        "held_out": held,
        "train_used": min(left, spec.max_train or left),
        "test": known.test,
        "test_used": min(known.test, spec.max_test or known.test),
    }


def evaluation_keys(plan: Plan) -> dict[str, str]:
    """A hash of the arguments of each evaluation, by label."""
    return {spec.label: spec.key for spec in plan.evaluations}


def suite_sha256(plan: Plan) -> str:
    """Over everything that a suite asks for: its models under their labels, and what is asked of each."""
    told = sorted(
        [
            planned.label,
            planned.variant,
            planned.run.run_id,
            [each.key for each in asked(planned, plan.evaluations)],
        ]
        for planned in plan.runs
    )
    return hashlib.sha256(json.dumps([plan.baseline, told]).encode()).hexdigest()


def _told(session: Mapping[str, Any]) -> str:
    own = {name: value for name, value in session.items() if name not in ("started", "data_sha256")}
    return json.dumps(own, sort_keys=True)


def _bits(environment: Mapping[str, Any]) -> str:
    packages = {
        name: version for name, version in environment.get("packages", {}).items() if name != "hugbench"
    }
    told = {**{name: environment.get(name) for name in SAME}, "packages": packages}
    return json.dumps(told, sort_keys=True)
