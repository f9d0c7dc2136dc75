"""Results of a suite that nobody ran: runs with records, logs, details and weights, made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from safetensors.numpy import save_file

from hugbench.reporting.html.material import Material
from hugbench.results.cells import Cells
from hugbench.results.contrasts import LEVEL, CompareReport
from hugbench.results.judging import Members, against_baseline
from hugbench.results.measured import Measured, planned_runs, records_of
from hugbench.results.records import SCHEMA
from hugbench.results.store import Status
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan

SUITE = """\
description: "two losses <script>alert('description')</script>"
criteria: [cross_entropy, hug, normface]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 3, batch_size: 64, lr: 0.05}
seeds: [0, 1, 2]
evaluations: [accuracy]
"""
EPOCHS = 3
SCRIPT = "<script>alert('note')</script>"

Row = dict[str, Any]
Answer = Callable[[str, int], Iterable[Row]]
"""The records of one evaluation by criterion and seed."""


def row(metric: str, value: float, n: int = 360, **place: Any) -> Row:
    """A measurement."""
    empty = {"condition": "clean", "severity": None, "experience": None, "epoch": None, "subset": "all"}
    return {"metric": metric, "value": value, "n": n, **empty, "reliability": None, **place}


def level(criterion: str, seed: int) -> float:
    """An accuracy that depends on both."""
    return {"cross_entropy": 0.80, "hug": 0.88, "normface": 0.79}[criterion] + 0.005 * math.sin(3 * seed + 1)


def accuracy(criterion: str, seed: int) -> list[Row]:
    """What the evaluation accuracy finds, roughly."""
    value = level(criterion, seed)
    return [
        row("accuracy", value),
        row("top5_accuracy", 0.99),
        row("negative_log_likelihood", 1.2 - value),
        *(
            row("accuracy", value - 0.1 * place, 120, subset=name)
            for place, name in enumerate(("many", "medium", "few"))
        ),
        *(row("accuracy", value, 36, subset=f"class:{label}") for label in range(10)),
    ]


def suite(folder: Path, text: str = SUITE) -> Path:
    """The suite's file."""
    path = folder / "made_up.yaml"
    path.write_text(text)
    return path


def finish(
    path: Path, results: Path, answers: Mapping[str, Answer], skip: Iterable[tuple[str, int]] = ()
) -> None:
    """Write finished runs for a suite: records by evaluation label, logs, machines, proxies.

    Args:
        path: the suite.
        results: the results folder.
        answers: by evaluation label; an evaluation without one is not measured.
        skip: (criterion, seed) of runs that failed.
    """
    plan = make_plan(load_suite(path))
    absent = set(skip)
    for run in planned_runs(plan, results):
        failed = (run.label, run.seed) in absent
        write(run, {} if failed else answers, failed)


def write(run: Measured, answers: Mapping[str, Answer], failed: bool) -> None:
    """One run's folder."""
    folder, status = run.folder, Status()
    for name in ("records", "predictions", "details"):
        (folder.path / name).mkdir(parents=True, exist_ok=True)
    for key, label in run.questions.items():
        if label in answers:
            common = {
                "schema": SCHEMA,
                "run_id": folder.run_id,
                "criterion": run.label,
                **dict(zip(("dataset", "backbone", "protocol"), run.block, strict=False)),
                "seed": run.seed,
                "evaluation": label,
            }
            lines = [json.dumps({**common, **found}) for found in answers[label](run.label, run.seed)]
            folder.records_file(key).write_text("".join(f"{line}\n" for line in lines))
            pyarrow.parquet.write_table(pyarrow.table({"index": [0]}), folder.predictions_file(key))
            folder.sealed(status, folder.records_file(key), folder.predictions_file(key))
            status.evaluations.append(key)
            status.notes[key] = [f"a note {SCRIPT}"]
    status.state = "failed" if failed else "trained"
    status.error, status.seconds = (f"RuntimeError: {SCRIPT}", 0.0) if failed else (None, 65.0)
    epochs = [
        {
            "epoch": epoch,
            "loss": 2.0 / (epoch + 1),
            "accuracy": 0.3 * (epoch + 1),
            "images_per_second": 1000.0,
        }
        for epoch in range(1 if failed else EPOCHS)
    ]
    folder.log.write_text("".join(json.dumps(line) + "\n" for line in epochs))
    session = {"device": "cpu", "device_name": "A CPU", "python": "3.11", "packages": {"torch": "2.9"}}
    sessions = {"sessions": [{**session, "git_revision": "0123456789abcdef"}]}
    (folder.path / "environment.json").write_text(json.dumps(sessions))
    proxies = np.random.default_rng(run.seed).normal(size=(10, 16)).astype(np.float32)
    name = "criterion.head.weight" if run.label == "hug" else "criterion.weight"
    save_file({name: proxies, "embedding.weight": np.zeros((16, 4), np.float32)}, folder.model)
    folder.write_status(status)


def material(
    folder: Path,
    answers: Mapping[str, Answer],
    details: Mapping[str, Callable[[str, int], Row]] | None = None,
) -> Material:
    """What a page is made of, for evaluations by any name: records and details as they would be stored.

    Args:
        folder: where the runs are written.
        answers: the records by evaluation label.
        details: what the evaluations tell beside them.
    """
    path = suite(folder)
    plan = make_plan(load_suite(path))
    runs = []
    for run in planned_runs(plan, folder):
        asked = replace(run, questions={f"{label}-0123456789": label for label in answers})
        write(asked, answers, False)
        status = asked.folder.status()
        for label, tell in (details or {}).items():
            file = asked.folder.details_file(f"{label}-0123456789")
            file.write_text(json.dumps(tell(run.label, run.seed)))
            asked.folder.sealed(status, file)
        asked.folder.write_status(status)
        runs.append(replace(asked, status=status))
    return Material(plan, "made up", path, (), compared(runs, plan.baseline), tuple(runs))


def compared(runs: list[Measured], baseline: str) -> CompareReport:
    """Every number of the runs, judged."""
    cells, members = Cells(), {}
    for found in records_of(runs, baseline)[0]:
        cells.add(found)
    for run in runs:
        of = members.setdefault(run.block, Members())
        of.seeds.add(run.seed)
        if run.label not in of.labels:
            of.labels.append(run.label)
    lines = against_baseline(cells, baseline, members, lambda metric: 0.005)
    labels = {label: () for of in members.values() for label in of.labels}
    return CompareReport(baseline, tuple(labels), LEVEL, tuple(lines), None, (), {}, labels)
