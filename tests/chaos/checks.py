"""What must hold at the end: all is there, once, to the byte, and nothing else is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hugbench.results.pending import with_work
from hugbench.results.progress import Survey
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests.chaos.processes import marked

BYTES = (
    "runs/*/records/*",
    "runs/*/predictions/*",
    "runs/*/details/*",
    "runs/*/model.safetensors",
    "runs/*/snapshots/*",
    "runs/*/run.yaml",
)
"""Whose bytes a suite decides alone."""

TIMES = {"seconds", "images_per_second"}


def problems(suite: Path, results: Path, expected: Path, data: Path, mark: str) -> Iterator[str]:
    """What of a disturbed results folder is not as in an undisturbed one.

    Args:
        suite: all that was asked.
        results, expected: the folders.
        data: of the images.
        mark: of the disturbed processes.
    """
    survey = Survey(make_plan(load_suite(suite)), results, RunFolder.damaged_evaluation)
    left = with_work(survey.look(), results)
    yield from (f"{found.planned.run.run_id} has work left" for found in left)
    yield from _different(results, expected)
    yield from _twice(results)
    for path in (expected / "runs").iterdir():
        yield from _log(results / "runs" / path.name, path)
        yield from _locked(results, path.name)
    yield from (f"litter: {name}" for name in sorted(_names(results) - _names(expected)))
    yield from (f"lost: {name}" for name in sorted(_names(expected) - _names(results)))
    for folder in (results, data):
        yield from (f"litter: {path}" for path in sorted(folder.rglob(".*.tmp")))
    yield from (f"process {pid} still lives" for pid in marked(mark))


def _different(results: Path, expected: Path) -> Iterator[str]:
    for pattern in BYTES:
        for path in sorted(expected.glob(pattern)):
            name = path.relative_to(expected)
            found = results / name
            if found.is_file() and found.read_bytes() != path.read_bytes():
                yield f"{name} is not that of an undisturbed run"


def _twice(results: Path) -> Iterator[str]:
    """Rows that count twice: in one file, or of one run in several; evaluations that a status names twice."""
    for home in sorted((results / "runs").iterdir()):
        rows: Counter[str] = Counter()
        for path in home.glob("records/*.jsonl"):
            rows.update(_key(json.loads(line)) for line in path.read_text().splitlines())
        yield from (f"{home.name}: {count} times {key}" for key, count in rows.items() if count > 1)
        named = Counter(RunFolder(results, home.name).status().evaluations)
        yield from (f"{home.name}: {key} is noted {count} times" for key, count in named.items() if count > 1)


def _key(row: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in row.items() if name not in ("value", "n")})


def _log(found: Path, expected: Path) -> Iterator[str]:
    """Whether every epoch is told once, with the same numbers; and whether somebody trained."""
    if _epochs(found) != _epochs(expected):
        yield f"{found.name}: its train.jsonl tells of another training"
    sessions = json.loads((found / "environment.json").read_text())["sessions"]
    if not sessions:
        yield f"{found.name}: nobody trained it"


def _epochs(folder: Path) -> list[dict[str, Any]]:
    rows = (json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def _locked(results: Path, run_id: str) -> Iterator[str]:
    with RunFolder(results, run_id).lock() as mine:
        if not mine:
            yield f"{run_id} is locked"


def _names(results: Path) -> set[str]:
    """All files but what evaluations keep for another time, which nobody misses and nobody renews."""
    files = (path.relative_to(results) for path in results.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "scratch" not in path.parts}
