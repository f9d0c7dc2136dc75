"""The local pool against workers that only pretend, and fail in every way; see standin.py."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hugbench.errors import HugbenchError, UserError
from hugbench.execution.control import Control
from hugbench.execution.events import Event, Notice, Printed, RunDone, RunFailed, RunStarted
from hugbench.execution.executors import local, process, seats
from hugbench.execution.place import Place
from hugbench.execution.schedule import Tally, Work
from hugbench.execution.where import Local
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests.unit.execution import standin
from tests.unit.finished import suite


class Bench:
    """A pool of pretending workers, and all that it tells."""

    def __init__(self, folder: Path) -> None:
        plan = make_plan(load_suite(suite(folder)))
        place = Place(Path("data"), folder / "results", torch.device("cpu"))
        self.work = Work(plan.runs, (), place)
        self.told: list[Event] = []
        self.control = Control()

    def __call__(self, workers: int = 3, observe: Callable[[Event], None] = lambda event: None) -> Tally:
        def tell(event: Event) -> None:
            self.told.append(event)
            observe(event)

        return local.local(Local(workers=workers), self.work, self.control, tell)

    def of(self, kind: type) -> list:
        return [event for event in self.told if isinstance(event, kind)]

    def pids(self) -> set[int]:
        return {event.epochs for event in self.of(RunStarted)}


@pytest.fixture
def pool(tmp_path: Path, monkeypatch) -> Bench:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{standin.__file__}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return Bench(tmp_path)


def alive(pid: int) -> bool:
    """Whether there is such a process, or one of its group."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def assert_all_gone(pool: Bench) -> None:
    assert pool.pids()
    deadline = time.monotonic() + 5
    while any(map(alive, pool.pids())):
        assert time.monotonic() < deadline, "a worker or a child of one lives on"
        time.sleep(0.01)


def test_every_run_is_done_once_by_several(pool: Bench) -> None:
    tally = pool()
    assert sorted(tally.done) == sorted(planned.run.run_id for planned in pool.work.runs)
    assert tally.failed == tally.left == []
    assert len(pool.pids()) == 3
    assert len(pool.of(RunDone)) == len(pool.work.runs)
    assert_all_gone(pool)


def test_what_is_printed_comes_as_lines_that_move_no_cursor(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN", "print")
    pool.work = replace(pool.work, runs=pool.work.runs[:2])
    pool(workers=2)
    assert [event.text for event in pool.of(Printed)][:2] == ["plain", " 20%"]
    assert "no end \ufffd" in [event.text for event in pool.of(Printed)]


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("killed", "was killed by SIGKILL"),
        ("killed, not its child", "was killed by SIGKILL"),
        ("half a message", "ended with exit code 3"),
    ],
)
def test_a_run_that_costs_three_workers_has_failed_and_the_others_are_done(
    pool: Bench, monkeypatch, what: str, how: str
) -> None:
    monkeypatch.setenv("STANDIN", what)
    pool.work = replace(pool.work, runs=tuple(p for p in pool.work.runs if p.label == "hug"))
    tally = pool(workers=2)
    assert sorted(tally.failed) == sorted(p.run.run_id for p in pool.work.runs if p.run.seed == 0)
    assert sorted(tally.done) == sorted(p.run.run_id for p in pool.work.runs if p.run.seed != 0)
    assert all(how in event.error for event in pool.of(RunFailed))
    assert len(pool.of(Notice)) == 2 * len(tally.failed)
    assert_all_gone(pool)


def test_a_worker_that_is_killed_while_it_has_nothing_to_do_harms_no_one(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN", "until stopped")
    pool.work = replace(pool.work, runs=tuple(p for p in pool.work.runs if p.label == "hug")[:2])
    timers: list[threading.Timer] = []

    def observe(event: Event) -> None:
        if isinstance(event, RunDone):
            (idle,) = (e.epochs for e in pool.of(RunStarted) if e.seed != 0)
            timers.append(threading.Timer(0.2, os.kill, (idle, 9)))
            timers.append(threading.Timer(0.5, pool.control.stop, ("interrupted",)))
            for timer in timers:
                timer.start()

    tally = pool(workers=2, observe=observe)
    assert (len(tally.done), len(tally.left), tally.failed) == (1, 1, [])
    assert pool.of(RunFailed) == pool.of(Notice) == []
    assert_all_gone(pool)


def test_workers_that_never_start_are_an_error_with_their_last_words(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN_START", "error")
    with pytest.raises(HugbenchError, match=r"do not start .*exit code 1: ImportError: no such library"):
        pool()


def test_a_worker_that_fails_to_start_once_is_replaced_and_no_run_is_blamed(
    pool: Bench, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDIN_START", f"once {tmp_path / 'started'}")
    assert len(pool().done) == len(pool.work.runs)
    assert [event.text for event in pool.of(Printed)] == ["not yet"]


def test_workers_that_are_stuck_before_they_are_ready_are_an_error(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN_START", "stuck")
    monkeypatch.setattr(process, "START_SECONDS", 0.1)
    with pytest.raises(HugbenchError, match=r"do not start .was killed by SIGKILL"):
        pool()


def test_no_process_at_all_is_an_error(pool: Bench, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(HugbenchError, match="no worker process can be started"):
        pool()


def test_what_concerns_every_run_is_raised_as_it_was_and_ends_all_workers(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN", "full disk")
    with pytest.raises(UserError, match="there: results cannot be written; expected room") as caught:
        pool()
    assert caught.value.exit_code == 2
    assert_all_gone(pool)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_the_driver_ends_all_workers_at_once(pool: Bench, monkeypatch, error) -> None:
    monkeypatch.setenv("STANDIN", "wait")

    def observe(event: Event) -> None:
        if isinstance(event, RunStarted):
            raise error

    with pytest.raises(error):
        pool(observe=observe)
    assert_all_gone(pool)


def test_asked_to_stop_it_waits_for_checkpoints_and_leaves_the_rest(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN", "until stopped")

    def observe(event: Event) -> None:
        if isinstance(event, RunStarted) and event.seed == 0:
            pool.control.stop("interrupted")

    tally = pool(workers=2, observe=observe)
    assert sorted([*tally.done, *tally.left]) == sorted(p.run.run_id for p in pool.work.runs)
    assert tally.failed == []
    assert len(tally.left) >= len(pool.work.runs) - 2
    assert_all_gone(pool)


def test_asked_to_stop_it_does_not_wait_for_a_worker_that_has_not_begun(pool: Bench, monkeypatch) -> None:
    monkeypatch.setenv("STANDIN_START", "stuck")
    pool.control.stop("never started")
    assert len(pool().left) == len(pool.work.runs)
    pool.control = Control(time_limit=0.3)
    assert len(pool().left) == len(pool.work.runs)
    assert pool.told == []


def test_runs_are_packed_by_their_threads(pool: Bench, monkeypatch) -> None:
    monkeypatch.setattr(local, "available_cpus", lambda: 3)
    ids = [planned.run.run_id for planned in pool.work.runs]
    threads = {run_id: 1 + index % 3 for index, run_id in enumerate(ids)}  # 1, 2, 3, 1, 2, 3, ...
    pool.work = replace(pool.work, threads=threads)
    going: dict[str, int] = {}
    most = 0

    def observe(event: Event) -> None:
        nonlocal most
        if isinstance(event, RunStarted):
            going[event.run_id] = threads[event.run_id]
            most = max(most, sum(going.values()))
        elif isinstance(event, RunDone):
            del going[event.run_id]

    assert len(pool(observe=observe).done) == len(ids)
    assert most == 3
    assert [event.run_id for event in pool.of(RunStarted) if threads[event.run_id] == 3] == ids[2::3]


def test_seats_on_the_cpu(pool: Bench, monkeypatch) -> None:
    def counts(workers: int | None = None) -> list[int]:
        return [seat.cpus for seat in seats.seats_for(Local(workers=workers), pool.work)]

    monkeypatch.setattr(seats, "available_memory", lambda: 64 << 30)
    monkeypatch.setattr(seats, "available_cpus", lambda: 4)
    assert counts() == [1] * 4
    assert counts(2) == [2] * 2
    assert counts(6) == [1] * 6, "more than processors, as asked"
    assert counts(100) == [1] * 9, "no more than runs"
    pool.work = replace(pool.work, threads={planned.run.run_id: 2 for planned in pool.work.runs})
    assert counts() == [2] * 2
    monkeypatch.setattr(seats, "available_memory", lambda: 1 << 20)
    assert counts() == [4]
    pool.work = replace(pool.work, runs=pool.work.runs[:1])
    assert counts(3) == [4]


def test_seats_on_gpus(pool: Bench, monkeypatch) -> None:
    def gpus(device: str, workers: int | None = None) -> list[str | None]:
        place = replace(pool.work.place, device=torch.device(device))
        found = seats.seats_for(Local(workers=workers), replace(pool.work, place=place))
        return [seat.gpu for seat in found]

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus("cuda") == ["0", "1"]
    assert gpus("cuda", 3) == ["0", "1", "0"]
    assert gpus("cuda:1") == [None]
    assert gpus("cuda:1", 2) == [None, None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    assert gpus("cuda") == ["GPU-a", "GPU-b"]


def test_a_loss_that_only_this_process_knows_stays_in_it(pool: Bench, monkeypatch) -> None:
    first = pool.work.runs[0]
    criterion = replace(first.run.criterion, target="__main__.MyLoss")
    mine = replace(first, run=replace(first.run, criterion=criterion))
    pool.work = replace(pool.work, runs=(mine, *pool.work.runs[1:]))
    monkeypatch.setattr(local, "serial", lambda *given: Tally(done=["in this process"]))
    assert pool().done == ["in this process"]
    (notice,) = pool.told
    assert "__main__.MyLoss is known in this process only" in notice.text
