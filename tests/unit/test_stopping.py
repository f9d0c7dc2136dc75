"""Suites that are stopped early, at whatever checkpoint, and go on."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from hugbench import api
from hugbench.errors import UserError
from hugbench.execution.control import TIME_IS_UP, Control
from hugbench.execution.events import Event, Notice, RunDone, RunFailed, RunStarted, RunWaiting
from hugbench.results.store import RunFolder
from tests.e2e.test_resume import everything

SUITE = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 128, max_test: 60}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 3, batch_size: 64, lr: 0.05}
seeds: [0]
evaluations:
  - accuracy
  - adversarial: {attack: screen, eps: [8/255], max_images: 30, card_images: 4}
"""


class Attempt:
    """A run of the suite, one run after the other in this process, and what it came to."""

    def __init__(self, suite: Path, device: object, results: str, **options: object) -> None:
        self.events: list[Event] = []
        self.outcome = api.run(
            suite,
            device=str(device),
            results=suite.parent / results,
            executor="serial",
            observer=self.events.append,
            **options,  # type: ignore[arg-type]
        )

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit is a number of times that someone asks whether to stop."""

    def control(limit: float | None) -> Control:
        return Control(limit, itertools.count().__next__)

    monkeypatch.setattr(api, "Control", control)


@pytest.mark.usefixtures("counted")
def test_stopped_at_every_so_manyth_checkpoint_it_ends_as_if_it_had_not_been(
    suite: Path, device: object
) -> None:
    whole = Attempt(suite, device, "whole")
    assert whole.outcome.stopped is None
    stops, inside = 0, set()
    while (attempt := Attempt(suite, device, "stopped", time_limit=5)).outcome.stopped:
        assert attempt.outcome.stopped == TIME_IS_UP
        assert not attempt.outcome.failed
        stops += 1
        states = [
            RunFolder(suite.parent / "stopped", p.run.run_id).status() for p in attempt.outcome.plan.runs
        ]
        inside |= {status.state for status in states}
        assert stops < 60, "it does not get on"
    assert stops >= 3
    assert inside >= {"training", "trained"}
    assert everything(suite.parent / "stopped") == everything(suite.parent / "whole")
    for planned in whole.outcome.plan.runs:
        one, other = (
            RunFolder(suite.parent / name, planned.run.run_id).status() for name in ("whole", "stopped")
        )
        assert one.files.keys() == other.files.keys()
        assert set(other.took) == set(other.evaluations)
        assert all(seconds > 0 for seconds in (other.seconds, *other.took.values()))


@pytest.mark.usefixtures("counted")
def test_no_run_starts_when_the_time_is_up(suite: Path, device: object) -> None:
    attempt = Attempt(suite, device, "results", time_limit=1)
    assert attempt.outcome.stopped == TIME_IS_UP
    assert not attempt.of(RunStarted)
    assert not list(suite.parent.rglob("status.json"))


@pytest.mark.usefixtures("counted")
def test_the_time_limit_ends_the_waiting_for_another_process(
    suite: Path, device: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hugbench.execution.executors.serial.POLL_SECONDS", 0.0)
    plan = api.plan(suite).plan
    with RunFolder(suite.parent / "results", plan.runs[1].run.run_id).lock() as mine:
        assert mine
        attempt = Attempt(suite, device, "results", time_limit=400)
    assert attempt.outcome.stopped == TIME_IS_UP
    assert attempt.outcome.done == (plan.runs[0].run.run_id,)
    assert len(attempt.of(RunWaiting)) == 1


class TestMaxRuns:
    def test_so_many_are_taken_up_baseline_first(self, suite: Path, device: object) -> None:
        first = Attempt(suite, device, "results", max_runs=1)
        assert first.outcome.stopped == "max runs"
        assert first.outcome.done == (first.outcome.plan.runs[0].run.run_id,)
        second = Attempt(suite, device, "results", max_runs=1)
        assert second.outcome.stopped is None
        assert len(second.outcome.done) == 2
        assert len(second.of(RunDone)) == 1

    def test_no_more_than_are_left_is_no_stop(self, suite: Path, device: object) -> None:
        assert Attempt(suite, device, "results", max_runs=2).outcome.stopped is None

    def test_failed_runs_count(self, suite: Path, device: object, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: object, **kwargs: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr("hugbench.protocols.standard.standard", broken)
        attempt = Attempt(suite, device, "results", max_runs=1)
        assert attempt.outcome.stopped == "max runs"
        assert len(attempt.of(RunFailed)) == len(attempt.outcome.failed) == 1

    def test_a_run_whose_baseline_is_not_picked_is_left(
        self, suite: Path, device: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hugbench.results.order.longest_first", lambda runs: [*runs][::-1])
        attempt = Attempt(suite, device, "results", max_runs=1)
        assert attempt.outcome.stopped == "max runs"
        waiting = RunFolder(suite.parent / "results", attempt.outcome.plan.runs[1].run.run_id).status()
        assert (waiting.state, len(waiting.evaluations)) == ("trained", 1)
        monkeypatch.undo()
        done = Attempt(suite, device, "results")
        assert done.outcome.stopped is None
        assert everything(suite.parent / "results")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_runs": 0}, "--max-runs"),
        ({"max_runs": -1}, "--max-runs"),
        ({"time_limit": 0}, "--time-limit"),
        ({"time_limit": -1.0}, "--time-limit"),
        ({"time_limit": math.nan}, "--time-limit"),
    ],
)
def test_limits_that_are_none(suite: Path, device: object, options: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Attempt(suite, device, "results", **options)
    assert not (suite.parent / "results").exists()


def test_damage_without_a_trace_is_found_where_it_is_looked_for(suite: Path, device: object) -> None:
    import os

    whole = Attempt(suite, device, "results")
    results = suite.parent / "results"
    before = everything(results)
    predictions = sorted(results.rglob("predictions/accuracy-*.parquet"))[0]
    times = predictions.stat()
    predictions.write_bytes(predictions.read_bytes()[::-1])
    os.utime(predictions, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Attempt(suite, device, "results").outcome.done == whole.outcome.done
    assert everything(results) != before
    verified = Attempt(suite, device, "results", verify=True)
    assert any("does not match its checksum" in str(notice) for notice in verified.of(Notice))
    assert everything(results) == before
