"""Several processes on this machine: one for each GPU, or as many on the CPU as pay."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

import torch

from hugbench.data.machine import available_cpus, available_memory
from hugbench.errors import HugbenchError
from hugbench.execution.control import Control
from hugbench.execution.events import Observer
from hugbench.execution.executors.messages import Ended, Raised, Ready, Setup, Stop
from hugbench.execution.executors.serial import serial
from hugbench.execution.place import Place
from hugbench.execution.schedule import POLL_SECONDS, Schedule, Tally, Work
from hugbench.execution.where import Local, Where
from hugbench.suite.plan import PlannedRun

WORKER_MEMORY = 1 << 30
"""Bytes that a worker takes beside the data, which all share: torch and a small model."""

FALSE_STARTS = 3
"""How many workers in a row may end before they are ready."""


def local(where: Where, work: Work, control: Control, observe: Observer) -> Tally:
    """Every run in one of several processes; with room for one only, in this process.

    Raises:
        HugbenchError: workers cannot be started.
    """
    seats = seats_for(where, work)
    if len(seats) == 1:
        return serial(where, work, control, observe)
    pool = _Pool(seats, work, control, observe)
    try:
        return pool.run()
    finally:
        pool.close()


@dataclass(frozen=True)
class Seat:
    """Room for a worker: where it computes, its part of the processors, and the GPU that it sees."""

    place: Place
    cpus: int
    gpu: str | None = None


def seats_for(where: Where, work: Work) -> list[Seat]:
    """The workers that pay, at most one for each run.

    One for each GPU that `--device auto` or `cuda` means. On the CPU as many as there are processors
    for runs of the fewest threads among the work, and memory for; they share the processors.
    """
    assert isinstance(where, Local)
    place, cpus = work.place, available_cpus()
    gpus = _gpus() if place.device == torch.device("cuda") else []
    if gpus:
        count = min(where.workers or len(gpus), len(work.runs))
        return [Seat(place, max(1, cpus // count), gpus[index % len(gpus)]) for index in range(count)]
    if place.device.type != "cpu":
        return [Seat(place, cpus)]
    least = min(work.threads.values(), default=1)
    room = min(cpus // least, max(1, available_memory() // WORKER_MEMORY))
    count = min(where.workers or max(1, room), len(work.runs))
    return [Seat(place, max(1, cpus // count))] * count


def _gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES writes them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(index) for index in range(count)]


class _Worker:
    """A process, and what it is at."""

    def __init__(self, seat: Seat, work: Work) -> None:
        self.seat, self.ready, self.stopping = seat, False, False
        self.planned: PlannedRun | None = None
        self.connection, theirs = Pipe()
        visible = {} if seat.gpu is None else {"CUDA_VISIBLE_DEVICES": seat.gpu}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hugbench.execution.executors.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **visible, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_descriptor() else subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        self.connection.send(Setup(tuple(sys.path), work.evaluations, seat.place, seat.cpus))

    def end(self) -> str:
        """Make sure that the process is gone; how it ended, in words."""
        self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _has_descriptor() -> bool:
    try:
        sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True


class _Pool:
    """The driver's side: gives runs out, hears what becomes of them, replaces workers that die."""

    def __init__(self, seats: list[Seat], work: Work, control: Control, observe: Observer) -> None:
        self._schedule = Schedule(work, control, observe)
        self._work, self._control, self._observe = work, control, observe
        self._empty = list(seats)
        self._workers: dict[Connection, _Worker] = {}
        self._false_starts = 0
        self._cpus = max(available_cpus(), len(seats))

    def run(self) -> Tally:
        """Until every run has ended."""
        while not self._schedule.over:
            self._fill()
            for connection in wait(list(self._workers), POLL_SECONDS):
                assert isinstance(connection, Connection)
                self._hear(self._workers[connection])
            if self._control.stopping():
                self._stop()
        return self._schedule.tally

    def close(self) -> None:
        """End all workers at once; what they were at goes on from its last checkpoint another time."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def _fill(self) -> None:
        """Give out what fits, to workers that have nothing to do or to new ones."""
        idle = [worker for worker in self._workers.values() if worker.planned is None]
        while idle or self._empty:
            planned = self._schedule.take(self._fits)
            if planned is None:
                return
            worker = idle.pop() if idle else self._start()
            worker.planned = planned
            self._send(worker, planned)

    def _start(self) -> _Worker:
        worker = _Worker(self._empty.pop(), self._work)
        self._workers[worker.connection] = worker
        return worker

    def _fits(self, planned: PlannedRun) -> bool:
        """Whether there are processors for a run beside those that are going on; a first one always fits."""
        taken = [self._threads(worker.planned) for worker in self._workers.values() if worker.planned]
        return not taken or sum(taken) + self._threads(planned) <= self._cpus

    def _threads(self, planned: PlannedRun) -> int:
        return self._work.threads.get(planned.run.run_id, 1)

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
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

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its run starts again elsewhere, its seat is free."""
        del self._workers[worker.connection]
        how = worker.end()
        self._empty.append(worker.seat)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts == FALSE_STARTS:
                raise HugbenchError(
                    f"worker processes do not start ({how}); `--executor serial` does without them"
                )
        if worker.planned is not None:
            self._schedule.lost(worker.planned, how, blame=worker.ready)

    def _send(self, worker: _Worker, message: PlannedRun | Stop) -> None:
        """Say something to a worker; that it has died shows when it is heard next."""
        with contextlib.suppress(OSError):
            worker.connection.send(message)

    def _stop(self) -> None:
        for worker in self._workers.values():
            if not worker.stopping:
                worker.stopping = True
                self._send(worker, Stop())
