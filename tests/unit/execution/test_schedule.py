"""Which run is next: by a clock that is set by hand, and no run is ever carried out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filelock import FileLock

from hugbench.execution.control import Control
from hugbench.execution.events import Event, Notice, RunFailed, RunWaiting
from hugbench.execution.place import Place
from hugbench.execution.schedule import ATTEMPTS, POLL_SECONDS, Schedule, Work
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import PlannedRun, make_plan
from tests.unit.finished import suite


class Bench:
    """A schedule of six runs, three of the baseline and three of hug, with its clock and what it tells."""

    def __init__(self, folder: Path) -> None:
        plan = make_plan(load_suite(suite(folder, criteria="[cross_entropy, hug]")))
        self.baselines = [planned for planned in plan.runs if planned.reference is None]
        self.others = [planned for planned in plan.runs if planned.reference is not None]
        self.results = folder / "results"
        self.told: list[Event] = []
        self.now = 100.0
        self.control = Control()
        self.schedule = self.of([*self.baselines, *self.others])

    def of(self, runs: list[PlannedRun]) -> Schedule:
        place = Place(Path("data"), self.results, torch.device("cpu"))
        self.schedule = Schedule(Work(tuple(runs), (), place), self.control, self.told.append, self.clock)
        return self.schedule

    def clock(self) -> float:
        return self.now

    def folder(self, planned: PlannedRun) -> RunFolder:
        return RunFolder(self.results, planned.run.run_id)

    def take(self) -> PlannedRun:
        planned = self.schedule.take()
        assert planned is not None
        return planned


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def ids(*runs: PlannedRun) -> list[str]:
    return [planned.run.run_id for planned in runs]


def test_every_run_is_given_out_once_and_in_order(bench: Bench) -> None:
    schedule, taken = bench.schedule, []
    while not schedule.over:
        taken += [first := bench.take(), second := bench.take()]
        assert schedule.out == 2
        schedule.settle(second, "done")
        schedule.settle(first, "failed")
    assert taken == [*bench.baselines, *bench.others]
    assert schedule.take() is None
    assert schedule.tally.done == ids(*taken[1::2])
    assert schedule.tally.failed == ids(*taken[::2])
    assert schedule.tally.left == []
    assert bench.told == []


def test_a_run_that_does_not_fit_is_not_overtaken(bench: Bench) -> None:
    large, *small = [*bench.baselines, *bench.others]
    assert bench.schedule.take(lambda planned: planned is not large) is None
    assert bench.schedule.out == 0
    assert bench.schedule.take(lambda planned: planned is large) is large
    assert bench.schedule.take(lambda planned: planned is not large) is small[0]


def test_a_run_in_other_hands_comes_last_is_told_once_and_asked_again(bench: Bench) -> None:
    busy, free = bench.baselines[:2]
    schedule = bench.of([busy, free])
    bench.folder(busy).path.mkdir(parents=True)
    (bench.folder(busy).path / ".holder").write_text("process 7 on elsewhere\n")
    schedule.settle(bench.take(), "busy")
    assert bench.take() is free
    schedule.settle(free, "done")
    for _ in range(3):
        assert not schedule.over
        assert schedule.take() is None, "asked without a pause"
        bench.now += POLL_SECONDS
        assert bench.take() is busy
        schedule.settle(busy, "busy")
    bench.now += POLL_SECONDS
    schedule.settle(bench.take(), "done")
    assert schedule.over
    assert schedule.tally.done == ids(free, busy)
    label, seed = busy.label, busy.run.seed
    assert bench.told == [RunWaiting(busy.run.run_id, label, seed, "process 7 on elsewhere")]


def test_a_run_waits_for_its_baseline_as_long_as_that_is_ahead(bench: Bench) -> None:
    baseline, other = bench.baselines[0], bench.others[0]
    schedule = bench.of([other, baseline])
    schedule.settle(bench.take(), "waiting")
    assert bench.take() is baseline
    bench.now += 10 * POLL_SECONDS
    assert schedule.take() is None
    schedule.settle(baseline, "failed")
    assert bench.take() is other, "it was to be taken up at once"
    schedule.settle(other, "done")
    assert (schedule.tally.done, schedule.tally.failed) == (ids(other), ids(baseline))


def test_a_run_whose_baseline_nobody_is_at_is_left(bench: Bench) -> None:
    other = bench.others[0]
    schedule = bench.of([other])
    schedule.settle(bench.take(), "waiting")
    assert schedule.over
    assert schedule.tally.left == ids(other)


@pytest.mark.parametrize("state", ["busy", "trained"])
def test_a_run_whose_baseline_another_driver_is_at_is_asked_again(bench: Bench, state: str) -> None:
    baseline, other = bench.baselines[0], bench.others[0]
    schedule = bench.of([other])
    folder = bench.folder(baseline)
    folder.path.mkdir(parents=True)
    lock = FileLock(folder.path / ".lock", is_singleton=False)
    if state == "busy":
        lock.acquire()
    else:
        status = folder.status()
        status.state = "trained"
        folder.write_status(status)
    schedule.settle(bench.take(), "waiting")
    lock.release()
    assert not schedule.over
    assert schedule.take() is None, "asked without a pause"
    bench.now += POLL_SECONDS
    assert bench.take() is other


def test_a_lost_run_is_next_until_it_has_cost_its_workers(bench: Bench) -> None:
    first, second = bench.baselines[:2]
    schedule = bench.of([first, second])
    for attempt in range(ATTEMPTS):
        assert bench.take() is first
        schedule.lost(first, "was killed by SIGKILL")
        assert len(bench.told) == attempt + 1
    *notices, last = bench.told
    assert all(isinstance(notice, Notice) and "was killed by SIGKILL" in notice.text for notice in notices)
    assert isinstance(last, RunFailed)
    status = bench.folder(first).status()
    assert status.state == "failed"
    assert status.error == last.error
    assert "WorkerLost: its worker was killed by SIGKILL, the third" in last.error
    assert schedule.tally.failed == ids(first)
    assert bench.take() is second


def test_a_run_that_is_not_to_blame_may_be_lost_for_ever(bench: Bench) -> None:
    (first, *_) = bench.baselines
    schedule = bench.of([first])
    for _ in range(5 * ATTEMPTS):
        schedule.lost(bench.take(), "ended with exit code 1", blame=False)
    assert bench.take() is first
    assert schedule.tally.failed == []


def test_a_run_that_another_driver_took_over_keeps_its_status(bench: Bench) -> None:
    (first, *_) = bench.baselines
    schedule = bench.of([first])
    folder = bench.folder(first)
    folder.path.mkdir(parents=True)
    lock = FileLock(folder.path / ".lock", is_singleton=False)
    lock.acquire()
    for _ in range(ATTEMPTS):
        schedule.lost(bench.take(), "was killed by SIGKILL")
    lock.release()
    assert folder.status().state == "pending"
    assert schedule.tally.failed == ids(first)


def test_stopping_waits_for_what_is_out_and_leaves_the_rest(bench: Bench) -> None:
    schedule = bench.schedule
    first, second, third = bench.take(), bench.take(), bench.take()
    schedule.settle(third, "busy")
    bench.control.stop("interrupted")
    assert schedule.take() is None
    assert not schedule.over
    schedule.settle(first, "stopped")
    schedule.lost(second, "was killed by SIGKILL")
    assert schedule.over
    assert schedule.tally.done == schedule.tally.failed == []
    everything = ids(*bench.baselines, *bench.others)
    assert sorted(schedule.tally.left) == sorted(everything), "nothing is lost or told twice"


def test_nothing_to_do_is_over(bench: Bench) -> None:
    assert bench.of([]).over
