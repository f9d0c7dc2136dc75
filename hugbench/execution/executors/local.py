"""Several processes on this machine: one for each GPU, or as many on the CPU as pay."""

from __future__ import annotations

from multiprocessing.connection import wait
from typing import Any

from hugbench.data.cache import unnamed
from hugbench.data.machine import available_cpus
from hugbench.errors import HugbenchError
from hugbench.execution.control import Control
from hugbench.execution.events import Notice, Observer, Printed
from hugbench.execution.executors.messages import Ended, Raised, Ready, Setup, Stop
from hugbench.execution.executors.process import Worker
from hugbench.execution.executors.seats import Seat, bound, seats_for
from hugbench.execution.executors.serial import serial
from hugbench.execution.schedule import POLL_SECONDS, Schedule, Tally, Work
from hugbench.execution.where import Local, Where
from hugbench.suite.plan import PlannedRun

FALSE_STARTS = 3
"""How many workers in a row may end before they are ready."""

PATIENCE = 5.0
"""Seconds in which a worker that has hung up should be gone."""


def local(where: Where, work: Work, control: Control, observe: Observer) -> Tally:
    """Every run in one of several processes; with room for one only, in this process.

    Raises:
        HugbenchError: workers cannot be started.
        UserError: what concerns every run, such as a full disk.
    """
    assert isinstance(where, Local)
    seats = seats_for(where, work)
    if (loss := bound(work)) and len(work.runs) > 1:
        observe(Notice(f"{loss} is known in this process only: the runs stay in it, one after the other"))
    if len(seats) == 1:
        return serial(where, work, control, observe)
    pool = _Pool(seats, work, control, observe)
    try:
        return pool.run()
    finally:
        pool.close()


class _Pool:
    """Gives runs out to workers, hears what becomes of them, replaces workers that die."""

    def __init__(self, seats: list[Seat], work: Work, control: Control, observe: Observer) -> None:
        self._schedule = Schedule(work, control, observe)
        self._work, self._control, self._observe = work, control, observe
        self._empty = list(seats)
        self._workers: list[Worker] = []
        self._false_starts = 0
        self._cpus = max(available_cpus(), len(seats))

    def run(self) -> Tally:
        """Until every run has ended."""
        while not self._schedule.over:
            self._fill()
            self._listen()
            if self._control.stopping():
                self._stop()
        workers = list(self._workers)
        self.close()
        for worker in workers:
            self._show(worker)
        return self._schedule.tally

    def close(self) -> None:
        """End all workers at once; what they were at goes on from its last checkpoint another time."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _fill(self) -> None:
        """Give out what fits, to workers that have nothing to do or to new ones."""
        idle = [worker for worker in self._workers if worker.planned is None]
        while idle or self._empty:
            planned = self._schedule.take(self._fits)
            if planned is None:
                return
            worker = idle.pop() if idle else self._start()
            if worker.send(planned):
                worker.planned = planned
            else:
                self._schedule.lost(planned, self._bury(worker), blame=False)

    def _start(self) -> Worker:
        seat = self._empty[-1]
        worker = Worker(seat, Setup(self._work.evaluations, self._work.place, seat.cpus, unnamed()))
        self._empty.pop()
        self._workers.append(worker)
        return worker

    def _fits(self, planned: PlannedRun) -> bool:
        """Whether there are processors for a run beside those that are going on; a first one always fits.

        More workers than processors were asked for: then there are as many of these as workers.
        """
        taken = [self._threads(worker.planned) for worker in self._workers if worker.planned]
        return not taken or sum(taken) + self._threads(planned) <= self._cpus

    def _threads(self, planned: PlannedRun) -> int:
        return self._work.threads.get(planned.run.run_id, 1)

    def _listen(self) -> None:
        """Hear what workers say and print, until one has, or for a moment; and whether they are well."""
        talkers: dict[Any, Worker] = {end: worker for worker in self._workers for end in worker.ends}
        for end in wait(list(talkers), POLL_SECONDS):
            worker = talkers[end]
            if end is not worker.connection:
                self._show(worker)
            elif worker in self._workers:
                self._hear(worker)
        for worker in list(self._workers):
            if worker.stuck():
                worker.kill()
            if worker.gone():
                self._lose(worker)

    def _hear(self, worker: Worker) -> None:
        try:
            message = worker.recv()
        except (EOFError, OSError):
            self._lose(worker)
            return
        match message:
            case Ready():
                worker.ready, self._false_starts = True, 0
            case Ended(result):
                assert worker.planned is not None
                planned, worker.planned = worker.planned, None
                self._schedule.settle(planned, result)
            case Raised(error):
                raise error
            case event:
                self._observe(event)

    def _show(self, worker: Worker) -> None:
        """Tell what a worker has printed."""
        for line in worker.printed():
            self._observe(Printed(line))

    def _lose(self, worker: Worker) -> None:
        """A worker has died: its run starts again elsewhere."""
        how = self._bury(worker)
        if worker.planned is not None:
            self._schedule.lost(worker.planned, how, blame=worker.ready)

    def _bury(self, worker: Worker) -> str:
        """See that a worker is gone, and free its seat; how it ended.

        Raises:
            HugbenchError: it is one of several in a row that never were ready.
        """
        how = worker.end(PATIENCE)
        self._show(worker)
        self._workers.remove(worker)
        self._empty.append(worker.seat)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts == FALSE_STARTS:
                told = ": ".join([how, *worker.last_words])
                raise HugbenchError(
                    f"worker processes do not start ({told}); `--executor serial` does without them"
                )
        return how

    def _stop(self) -> None:
        """Ask for an end at the next checkpoint; who has not begun yet ends at once."""
        for worker in list(self._workers):
            if not worker.ready:
                worker.kill()
                worker.end()
                self._workers.remove(worker)
                if worker.planned is not None:
                    self._schedule.settle(worker.planned, "stopped")
            elif not worker.stopping:
                worker.stopping = True
                worker.send(Stop())
