"""Which runs have work left, and what is swept from those that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hugbench.results.pending import with_work
from hugbench.results.progress import Survey
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import Plan, PlannedRun, make_plan
from tests.unit.finished import finish, first, suite


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Nine runs that are done."""
    path = suite(tmp_path)
    finish(path, tmp_path / "results", lambda planned: first(90))
    return make_plan(load_suite(path))


def pending_runs(plan: Plan, results: Path) -> list[PlannedRun]:
    survey = Survey(plan, results, RunFolder.damaged_evaluation)
    return [run.planned for run in with_work(survey.look(), results)]


def folder(plan: Plan, tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "results", plan.runs[4].run.run_id)


def test_nothing_is_left_of_what_is_done(plan: Plan, tmp_path: Path) -> None:
    assert pending_runs(plan, tmp_path / "results") == []
    assert len(pending_runs(plan, tmp_path / "elsewhere")) == 9


@pytest.mark.parametrize(
    "file", ["records/{key}.jsonl", "predictions/{key}.parquet", "status.json", "run.yaml"]
)
def test_what_misses_a_file_is_left(plan: Plan, tmp_path: Path, file: str) -> None:
    (key,) = plan.keys(plan.runs[4])
    (folder(plan, tmp_path).path / file.format(key=key)).unlink()
    assert pending_runs(plan, tmp_path / "results") == [plan.runs[4]]


def test_a_specification_is_vouched_for_once_its_checksum_is_noted(plan: Plan, tmp_path: Path) -> None:
    run = folder(plan, tmp_path)
    status = run.status()
    run.sealed(status, run.specification)
    run.write_status(status)
    run.specification.write_text(run.specification.read_text().replace("seed: 1", "seed: 7"))
    assert pending_runs(plan, tmp_path / "results") == [plan.runs[4]]


def test_litter_of_killed_processes_is_removed_from_finished_runs(plan: Plan, tmp_path: Path) -> None:
    run = folder(plan, tmp_path)
    litter = [
        run.path / ".holder",
        run.checkpoint,
        run.path / ".status.json.abc.tmp",
        run.path / "predictions" / ".x.parquet.abc.tmp",
    ]
    for path in litter:
        path.touch()
    assert pending_runs(plan, tmp_path / "results") == []
    assert [path for path in litter if path.exists()] == []


def test_a_run_that_another_process_is_at_is_left_alone(plan: Plan, tmp_path: Path) -> None:
    run = folder(plan, tmp_path)
    with run.lock() as mine:
        assert mine
        run.checkpoint.touch()
        assert pending_runs(plan, tmp_path / "results") == []
        assert run.checkpoint.exists()
