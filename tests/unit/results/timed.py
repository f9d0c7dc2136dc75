"""Results folders of runs that never ran, with times as a test wants them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import yaml

from hugbench.results.store import RunFolder, Status
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Plan, PlannedRun, Run, make_plan

SUITE = """\
criteria: [cross_entropy, hug]
baseline: cross_entropy
dataset: {name: digits}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 10, batch_size: 64, lr: 0.1}
seeds: [0, 1]
evaluations: [accuracy]
"""


def plan_of(folder: Path, **lines: str) -> Plan:
    """The plan of a suite, with some lines replaced."""
    kept = [line for line in SUITE.splitlines() if line.partition(":")[0] not in lines]
    path = folder / "suite.yaml"
    path.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in lines.items())]) + "\n")
    return make_plan(load_suite(path))


def ran(
    plan: Plan,
    planned: PlannedRun,
    root: Path,
    seconds: float,
    *,
    epochs: int | None = None,
    took: float | None = 1.0,
    hardware: str = "a processor",
    when: str = "2026-01-01T00:00:00+00:00",
) -> RunFolder:
    """A run whose epochs took so long; after all epochs its evaluations, too.

    Args:
        plan: of which suite.
        planned: the run.
        root: the results folder.
        seconds: of each epoch.
        epochs: how many are finished; all by default, and then it is trained.
        took: seconds of each of its evaluations; None for a status from before these were timed.
        hardware: what it ran on.
        when: its session began.
    """
    run, finished = planned.run, epochs is None
    folder = RunFolder(root, run.run_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    count = run.epochs if epochs is None else epochs
    folder.log.write_text("".join(json.dumps({"epoch": e, "seconds": seconds}) + "\n" for e in range(count)))
    session = {"started": when, "device_name": hardware}
    (folder.path / "environment.json").write_text(json.dumps({"sessions": [session]}))
    write_specification(folder, run)
    keys = plan.keys(planned) if finished else []
    status = Status("trained" if finished else "training", evaluations=keys)
    told = asdict(status)
    if took is None:
        del told["took"], told["stamps"]
    else:
        told["took"] = dict.fromkeys(keys, took)
    folder.status_file.write_text(json.dumps(told))
    return folder


def write_specification(folder: RunFolder, run: Run) -> None:
    described = json.loads(json.dumps(run.resolved()))
    (folder.path / "run.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
