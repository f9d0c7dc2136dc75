"""Results folders of suites that never ran: records, predictions and states as a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import yaml

from hugbench.results.store import RunFolder, Status
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import PlannedRun, make_plan

SUITE = """\
criteria: [cross_entropy, hug, normface]
baseline: cross_entropy
dataset: {name: digits, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 1, batch_size: 64, lr: 0.1}
seeds: [0, 1, 2]
"""

IMAGES = 100

Rights = Callable[[PlannedRun], Sequence[bool] | None]
"""Which of the test images a run has right; None leaves the run unfinished."""


def suite(folder: Path, name: str = "suite", **lines: str) -> Path:
    """A suite's file, with some lines replaced or added."""
    kept = [line for line in SUITE.splitlines() if line.partition(":")[0] not in lines]
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in lines.items())]) + "\n")
    return path


def first(count: int) -> list[bool]:
    """The first so many of the images are right."""
    return [place < count for place in range(IMAGES)]


def finish(path: Path, results: Path, rights: Rights, **changes: Any) -> None:
    """Store what `rights` says of every run of a suite: accuracy and predictions.

    Args:
        path: the suite.
        results: the results folder.
        rights: what each run has right.
        changes: columns of the records that differ; None leaves one out.
    """
    plan = make_plan(load_suite(path))
    for planned in plan.runs:
        right = rights(planned)
        if right is None:
            continue
        (key, *_) = plan.keys(planned)
        folder = RunFolder(results, planned.run.run_id)
        row = {**record(planned, float(np.mean(right))), **changes}
        store(folder, key, [{name: value for name, value in row.items() if value != "absent"}])
        described = json.loads(json.dumps(planned.run.resolved()))
        (folder.path / "run.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
        predict(folder, key, right)


def record(planned: PlannedRun, value: float) -> dict[str, Any]:
    run = planned.run
    return {
        "schema": 2,
        "run_id": run.run_id,
        "criterion": run.criterion.name,
        "dataset": run.dataset.name,
        "backbone": run.model.backbone,
        "protocol": run.protocol.label,
        "seed": run.seed,
        "evaluation": "accuracy",
        "metric": "accuracy",
        "condition": "clean",
        "severity": None,
        "experience": None,
        "epoch": None,
        "subset": "all",
        "value": value,
        "n": IMAGES,
        "reliability": None,
    }


def store(folder: RunFolder, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """The records of an evaluation, finished."""
    status = folder.status()
    file = folder.records_file(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder.sealed(status, file)
    status.state = "trained"
    if key not in status.evaluations:
        status.evaluations.append(key)
    folder.write_status(status)


def predict(folder: RunFolder, key: str, right: Sequence[bool], **columns: Any) -> None:
    """The predictions of an evaluation."""
    status, file = folder.status(), folder.predictions_file(key)
    targets = np.arange(len(right)) % 10
    told = {
        "index": np.arange(len(right)),
        "target": targets,
        "prediction": np.where(right, targets, (targets + 1) % 10),
        **columns,
    }
    file.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(told), file)
    folder.sealed(status, file)
    folder.write_status(status)


def fail(path: Path, results: Path, label: str, error: str) -> None:
    """Every run of a criterion has failed."""
    for planned in make_plan(load_suite(path)).runs:
        if planned.label == label:
            folder = RunFolder(results, planned.run.run_id)
            folder.path.mkdir(parents=True, exist_ok=True)
            (folder.path / "status.json").write_text(json.dumps(asdict(Status("failed", error=error))))
