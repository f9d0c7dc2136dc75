"""A class-incremental stream in the report: the matrix, the courses, forgetting by a slow loop."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hugbench.reports import report
from hugbench.results.measured import planned_runs
from hugbench.results.records import SCHEMA
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests.unit.reporting.html.make import SUITE, Row, finish, row, suite
from tests.unit.reporting.html.read import Page

STREAM = SUITE.replace(
    "recipe:", "protocol: {continual: {experiences: 5, strategies: [naive]}}\nrecipe:"
).replace("[accuracy]", "[{accuracy: {}, evaluate_after: each}]")
STEPS = range(1, 6)


def entry(criterion: str, seed: int, i: int, j: int) -> float:
    """R[i][j]: what was learnt fades."""
    if j > i:
        return 0.0
    fade = {"cross_entropy": 0.1, "hug": 0.02, "normface": 0.15}[criterion]
    return 0.9 - fade * (i - j) - 0.01 * seed


def moments(criterion: str, seed: int, i: int) -> list[Row]:
    cells = [entry(criterion, seed, i, j) for j in STEPS]
    seen = cells[:i] or [0.0]
    return [
        row("accuracy", sum(cells) / 5, experience=i),
        row("task_incremental_accuracy", 0.9, experience=i),
        *([row("accuracy", sum(seen) / len(seen), experience=i, subset="seen")] if i else []),
        *(
            row("accuracy", cell, 72, experience=i, subset=f"experience:{j}")
            for j, cell in zip(STEPS, cells, strict=True)
        ),
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("stream")
    path = suite(folder, STREAM)
    write_moments(path, folder)
    return Page(report(path, results=folder, bootstrap=0).path.read_text())


def write_moments(path: Path, results: Path) -> None:
    """Each moment has a file of its own: finish all of them, then put the right rows in each."""
    finish(path, results, {"accuracy": lambda criterion, seed: moments(criterion, seed, 5)})
    for run in planned_runs(make_plan(load_suite(path)), results):
        status = run.folder.status()
        for key in run.questions:
            _, _, moment = key.partition(".experience-")
            rows = moments(run.label, run.seed, int(moment or 5))
            common = {"schema": SCHEMA, "seed": run.seed, "evaluation": "accuracy"}
            common |= dict(zip(("dataset", "backbone", "protocol"), run.block, strict=False))
            file = run.folder.records_file(key)
            file.write_text("".join(json.dumps({**common, **line}) + "\n" for line in rows))
            run.folder.sealed(status, file)
        run.folder.write_status(status)


def half(values: list[float]) -> float:
    mean = sum(values) / 3
    return 4.302652729911275 * math.sqrt(sum((v - mean) ** 2 for v in values) / 2) / math.sqrt(3)


def told(values: list[float]) -> str:
    return f"{100 * sum(values) / 3:.2f} ± {100 * half(values):.2f}"


def test_the_matrix_is_the_mean_over_seeds(found: Page) -> None:
    for i in STEPS:
        cells = next(cells for cells in found.rows if cells[:2] == ["hug", str(i)])
        expected = [sum(entry("hug", seed, i, j) for seed in (0, 1, 2)) / 3 for j in STEPS]
        assert cells[2:] == [f"{100 * value:.1f}" for value in expected]
    assert ["hug", "before", "0.0", "0.0", "0.0", "0.0", "0.0"] in found.rows


def test_accuracy_on_the_classes_seen_and_forgetting_after_every_experience(found: Page) -> None:
    seen, forgotten = [], ["-"]
    for last in STEPS:
        seen.append(
            told(
                [
                    sum(entry("cross_entropy", s, last, j) for j in range(1, last + 1)) / last
                    for s in (0, 1, 2)
                ]
            )
        )
        if last > 1:
            by_seed = []
            for s in (0, 1, 2):
                losses = []
                for j in range(1, last):
                    best = max(entry("cross_entropy", s, i, j) for i in range(1, last))
                    losses.append(best - entry("cross_entropy", s, last, j))
                by_seed.append(sum(losses) / len(losses))
            forgotten.append(told(by_seed))
    assert ["cross_entropy", "accuracy on the classes seen so far", *seen] in found.rows
    assert ["cross_entropy", "forgetting", *forgotten] in found.rows


def test_the_stream_has_its_part_and_its_tables(found: Page) -> None:
    assert "class-incremental-stream" in found.ids
    assert "Average incremental accuracy" in found.text
    assert "Accuracy matrix of hug" in " ".join(root[0].text or "" for root in found.drawings if len(root))
