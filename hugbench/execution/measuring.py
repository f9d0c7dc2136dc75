"""What is asked of a trained classifier, answered and stored."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from hugbench.data.images import Dataset
from hugbench.data.longtail import by_frequency
from hugbench.evaluations.base import Findings, Measurement, Setting
from hugbench.execution.events import Evaluated
from hugbench.models import Classifier
from hugbench.registry import load_target
from hugbench.results.records import SCHEMA
from hugbench.results.store import RunFolder, Status
from hugbench.seeding import seed_everything
from hugbench.suite.continual import ContinualSpec, class_sets
from hugbench.suite.moments import Moment
from hugbench.suite.plan import Asked, Run


def setting(run: Run, moment: Moment, dataset: Dataset, device: torch.device) -> Setting:
    """Where a run is evaluated at a moment: its data, and how its classes are grouped there.

    Folders, the reference and who is told are for whoever knows them to fill in.
    """
    counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes))
    groups = by_frequency(counts.tolist())
    experiences: tuple[tuple[int, ...], ...] = ()
    if isinstance(run.protocol, ContinualSpec):
        experiences = class_sets(run.protocol, len(dataset.classes), run.seed)
    return Setting(
        dataset,
        device,
        run.seed,
        subsets={name: torch.tensor(labels) for name, labels in groups.items()} if len(groups) > 1 else {},
        experiences=tuple(torch.tensor(labels) for labels in experiences),
        experience=moment.experience,
    )


def measure(
    run: Run, question: Asked, classifier: Classifier, where: Setting, folder: RunFolder, status: Status
) -> Evaluated:
    """Evaluate, store records and predictions, and note them in the status, last.

    Returns:
        What was found.
    """
    spec, key = question.spec, question.key
    function: Callable[..., Findings] = load_target(spec.target)
    seed_everything(run.seed, "evaluation", spec.key)
    begun = time.monotonic()
    try:
        findings = function(classifier, where, **spec.values())
    finally:
        status.took[key] = status.took.get(key, 0.0) + time.monotonic() - begun
    records, predictions = folder.records_file(key), folder.predictions_file(key)
    rows = [_row(run, question, measurement) for measurement in findings.measurements]
    folder.store(status, records, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
    folder.store(status, predictions, _predictions(findings))
    if findings.details is not None:
        told = json.dumps(findings.details, indent=1, allow_nan=False) + "\n"
        folder.store(status, folder.details_file(key), told.encode())
    status.evaluations.append(key)
    status.notes[key] = findings.notes
    folder.write_status(status)
    first = findings.measurements[0]
    return Evaluated(run.run_id, spec.name, first.metric, first.value, tuple(rows))


def _row(run: Run, question: Asked, found: Measurement) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "criterion": run.criterion.name,
        "dataset": run.dataset.name,
        "backbone": run.model.backbone,
        "protocol": run.protocol.label,
        "seed": run.seed,
        "evaluation": question.spec.name,
        "metric": found.metric,
        "condition": found.condition,
        "severity": found.severity,
        "experience": question.moment.experience,
        "epoch": question.moment.epoch,
        "subset": found.subset,
        "value": found.value if math.isfinite(found.value) else None,
        "n": found.n,
        "reliability": found.reliability,
    }


def _predictions(findings: Findings) -> bytes:
    """The columns per image as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(findings.predictions)), sink)
    return sink.getvalue()
