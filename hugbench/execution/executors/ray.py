"""Every run a task on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from hugbench import __version__
from hugbench.data.machine import available_cpus, available_memory
from hugbench.errors import HugbenchError, UserError
from hugbench.execution.control import Control
from hugbench.execution.events import Notice, Observer
from hugbench.execution.executors.parcels import Parcel, pack, pack_weights, put_back
from hugbench.execution.executors.ray_cluster import Cluster, Needs, connected
from hugbench.execution.executors.ray_desk import Begun, Desk
from hugbench.execution.executors.ray_worker import Attempt, Order, attempt, names_in, thread_settings
from hugbench.execution.place import Place
from hugbench.execution.preparation import dataset_of
from hugbench.execution.schedule import Schedule, Tally, Work
from hugbench.execution.where import Ray, Where
from hugbench.results.store import RunFolder
from hugbench.storage import write_atomic
from hugbench.suite.plan import PlannedRun

LISTEN_SECONDS = 0.2
"""How long is waited for a task to end before its events are taken."""

LOOK_SECONDS = 3.0
"""How often is looked whether the cluster is there, and how large it is."""

QUEUED = 2
"""Tasks that wait at Ray beyond those that have room: a worker has its next one at once."""

WORKER_MEMORY = 1 << 30
"""Bytes that a worker on a local cluster takes beside the data."""

FALSE_STARTS = 3
"""How many workers in a row may end before they come to their run."""


def ray(where: Where, work: Work, control: Control, observe: Observer) -> Tally:
    """Every run as a Ray task with its needs, on a running cluster or a local one.

    Raises:
        UserError: no Ray, no such cluster, no room on it, or its nodes lack the data.
        HugbenchError: the cluster does not start, does not run hugbench, or goes away.
    """
    assert isinstance(where, Ray)
    work = replace(work, place=_place(where, work.place))
    with connected(where, _needs(where, work)) as cluster, _token(work) as token:
        driver = _Driver(where, work, control, observe, cluster, token)
        try:
            return driver.run()
        except BaseException:
            driver.abandon()
            raise
        finally:
            driver.close()


def _place(where: Ray, place: Place) -> Place:
    """Where runs compute as a worker is told: whole paths, and the GPU that Ray shows it."""
    device = torch.device("cuda") if where.gpus_per_run else place.device
    if device not in (torch.device("cpu"), torch.device("cuda")):
        raise UserError(
            "Ray chooses the GPU of each run", where="--device", found=str(device), expected="cpu or cuda"
        )
    return replace(place, data=place.data.absolute(), results=place.results.absolute(), device=device)


def _needs(where: Ray, work: Work) -> Needs:
    """What a local cluster has: this machine, and at least room for the largest run."""
    largest = max(work.threads.values(), default=1)
    if work.place.device.type == "cuda":
        gpus = torch.cuda.device_count()
        at_once = int(gpus / min(where.gpus_per_run or 1, 1))
        return Needs(max(available_cpus(), at_once), gpus)
    room = min(available_cpus(), max(1, available_memory() // WORKER_MEMORY))
    return Needs(max(where.workers or room, largest), 0)


@contextlib.contextmanager
def _token(work: Work) -> Iterator[tuple[str, str]]:
    """A file in the results folder by which a worker knows it; its name and content."""
    name, content = f".hugbench-ray-{secrets.token_hex(8)}", secrets.token_hex(16)
    path = work.place.results / name
    write_atomic(path, content.encode())
    try:
        yield name, content
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Out:
    """A run in the hands of Ray, and what it takes; `lock` holds the folder of one that was sent."""

    planned: PlannedRun
    cpus: float
    gpus: float
    lock: ExitStack


class _Driver:
    """Gives runs to Ray, hears what becomes of them, and takes back those that lose their workers."""

    def __init__(
        self,
        where: Ray,
        work: Work,
        control: Control,
        observe: Observer,
        cluster: Cluster,
        token: tuple[str, str],
    ) -> None:
        self._where, self._work, self._control, self._observe = where, work, control, observe
        self._cluster, self._ray, self._token = cluster, cluster.ray, token
        self._schedule = Schedule(work, control, observe)
        self._out: dict[Any, _Out] = {}
        self._begun: set[str] = set()
        self._sending = self._cancelled = self._told_room = False
        self._false_starts, self._looked = 0, time.monotonic()
        self._names = names_in(work.place.data)
        self._room, self._largest = cluster.rooms()
        self._see_room()
        path = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": cluster.near()}
        self._desk = self._ray.remote(Desk).options(runtime_env=path, **options).remote()
        self._taking: Any = None
        # a process that has used one GPU cannot use another: where there are several it ends with its run
        again = 1 if self._gpus and self._largest.gpus > 1 else 0
        task = self._ray.remote(max_retries=0, max_calls=again, runtime_env=path)(attempt)
        self._start: Callable[..., Any] = task.options

    @property
    def _gpus(self) -> float:
        """GPUs of a run."""
        return (self._where.gpus_per_run or 1.0) if self._work.place.device.type == "cuda" else 0.0

    def _cpus(self, planned: PlannedRun) -> int:
        """Processors of a run; where no node has as many as it has threads, all of the largest."""
        wanted = self._work.threads.get(planned.run.run_id, 1) if not self._gpus else 1
        return max(1, min(wanted, int(self._largest.cpus)))

    def run(self) -> Tally:
        """Until every run has ended."""
        while not self._schedule.over:
            while (planned := self._schedule.take(self._fits)) is not None:
                self._send(planned)
            ended = self._wait()
            self._hear()
            for task in ended:
                self._settle(task, self._out.pop(task))
            self._look()
            if self._control.stopping() and not self._cancelled:
                self._cancel_waiting()
        self._hear()
        return self._schedule.tally

    def abandon(self) -> None:
        """End all tasks at once; what they were at goes on from its last checkpoint another time."""
        for task in self._out:
            if not self._cluster.own and not self._cluster.gone():
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Give back what was held here and on the cluster."""
        for out in self._out.values():
            out.lock.close()
        if not self._cluster.own and not self._cluster.gone():
            self._ray.kill(self._desk)

    def _see_room(self) -> None:
        """Make sure that the cluster can take the runs.

        Raises:
            UserError: no node of it is large enough.
        """
        if self._largest.gpus < self._gpus:
            raise UserError(
                "no node of the cluster has as many GPUs",
                where="--gpus-per-run",
                found=self._gpus,
                expected=f"at most {self._largest.gpus:g}" if self._largest.gpus else "--device cpu",
            )
        if not self._cluster.has_room(1, self._gpus):
            raise UserError("no node of the cluster has a processor for runs", where="--ray-address")

    def _fits(self, planned: PlannedRun) -> bool:
        """Whether there is room for a run beside those that are out, or a place to wait for it."""
        out = self._out.values()
        if self._where.workers is not None and len(out) >= self._where.workers:
            return False
        if self._gpus:
            return sum(other.gpus for other in out) + self._gpus <= self._room.gpus + QUEUED * self._gpus
        cpus = self._cpus(planned)
        return sum(other.cpus for other in out) + cpus <= self._room.cpus + QUEUED * cpus

    def _send(self, planned: PlannedRun) -> None:
        """Give a run to Ray; with its files once a worker has said that it does not see them."""
        lock, parcels = ExitStack(), None
        if self._sending:
            folder = RunFolder(self._work.place.results, planned.run.run_id)
            if not lock.enter_context(folder.lock()):
                self._schedule.settle(planned, "busy")
                return
            parcels = self._parcels(planned, folder)
        cpus = self._cpus(planned)
        start = self._start(num_cpus=cpus, num_gpus=self._gpus)
        order = pickle.dumps(self._order(planned, cpus))
        task = start.remote(thread_settings(), order, parcels, self._desk)
        self._begun.discard(planned.run.run_id)
        self._out[task] = _Out(planned, cpus, self._gpus, lock)

    def _order(self, planned: PlannedRun, cpus: int) -> Order:
        work, threads = self._work, None
        if self._gpus:
            cpus = max(1, int(self._room.cpus / self._room.gpus * self._gpus))
        else:
            threads = work.threads.get(planned.run.run_id, 1)
        dataset = dataset_of(planned.run.dataset, work.place.data, lambda text: self._observe(Notice(text)))
        return Order(
            planned,
            work.evaluations,
            work.place,
            self._token,
            threads,
            cpus,
            self._names,
            dataset.checksum,
            __version__,
        )

    def _parcels(self, planned: PlannedRun, folder: RunFolder) -> Mapping[str, Parcel]:
        """What a run needs to go on: its files, and the model of the paired baseline."""
        parcels = {planned.run.run_id: pack(folder)}
        if planned.reference is not None and any(spec.paired for spec in self._work.evaluations):
            reference = RunFolder(self._work.place.results, planned.reference.run_id)
            if reference.status().state in ("trained", "failed"):
                parcels[planned.reference.run_id] = pack_weights(reference)
        return parcels

    def _wait(self) -> list[Any]:
        """Tasks that have ended."""
        if not self._out:
            time.sleep(LISTEN_SECONDS)
            return []
        tasks = list(self._out)
        ended, rest = self._ray.wait(tasks, num_returns=1, timeout=LISTEN_SECONDS)
        more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0) if ended and rest else ([], [])
        return [*ended, *more]

    def _hear(self) -> None:
        """Pass on what workers have said since, and tell them whether to stop."""
        if self._taking is None:
            self._taking = self._desk.take.remote(self._control.stopping())
        try:
            batches = self._ray.get(self._taking, timeout=LOOK_SECONDS)
        except self._ray.exceptions.GetTimeoutError:
            return
        except self._ray.exceptions.RayError:  # Ray starts the desk again
            batches = []
        self._taking = None
        for batch in batches:
            self._tell(pickle.loads(batch))

    def _tell(self, events: Any) -> None:
        for event in events:
            if isinstance(event, Begun):
                self._begun.add(event.run_id)
                self._false_starts = 0
            else:
                self._observe(event)

    def _settle(self, task: Any, out: _Out) -> None:
        """Take in how a task has ended."""
        errors = self._ray.exceptions
        with out.lock:
            try:
                ended: Attempt = self._ray.get(task)
            except errors.TaskCancelledError:
                self._schedule.settle(out.planned, "stopped")
                return
            except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
                told = " ".join(str(error).strip().splitlines()[-1:])
                raise HugbenchError(
                    f"a Ray worker cannot run hugbench ({told}); every node needs what is installed here"
                ) from error
            except errors.RayError as error:
                self._lose(out, error)
                return
            self._tell(ended.events)
            refused = None
            if ended.parcel is not None:
                refused = put_back(RunFolder(self._work.place.results, out.planned.run.run_id), ended.parcel)
        if ended.error is not None:
            raise ended.error
        if ended.result == "unseen":
            self._sending = True
            self._send(out.planned)
        elif refused is not None:
            self._schedule.lost(out.planned, f"has sent nothing that can be kept ({refused})")
        else:
            assert ended.result != "raised"
            self._schedule.settle(out.planned, ended.result)

    def _lose(self, out: _Out, error: Exception) -> None:
        """A worker is gone, or its node is: the run starts again."""
        errors = self._ray.exceptions
        if isinstance(error, errors.OutOfMemoryError):
            how = "was ended by Ray, for the machine had no memory left"
        elif isinstance(error, errors.WorkerCrashedError):
            how = "was killed or crashed"
        else:
            how = f"was lost with its node ({type(error).__name__})"
        begun = out.planned.run.run_id in self._begun
        if not begun:
            self._false_starts += 1
            if self._false_starts == FALSE_STARTS:
                raise HugbenchError(f"Ray's workers do not come to their runs; the last {how}")
        blame = begun and isinstance(error, errors.WorkerCrashedError | errors.OutOfMemoryError)
        self._schedule.lost(out.planned, how, blame=blame)

    def _look(self) -> None:
        """See now and then whether the cluster is there, and what it has.

        Raises:
            HugbenchError: it has gone away.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._cluster.gone():
            raise HugbenchError(
                "the Ray cluster has gone away; what is finished is kept, the same command goes on from there"
            )
        self._room, self._largest = self._cluster.rooms()
        waiting = [out for out in self._out.values() if not self._cluster.has_room(out.cpus, out.gpus)]
        if waiting and not self._told_room:
            self._observe(
                Notice("no node of the Ray cluster has room for the runs; they wait until one joins")
            )
        self._told_room = bool(waiting)

    def _cancel_waiting(self) -> None:
        """Once, when an end is asked for: tasks that have not begun need not."""
        self._cancelled = True
        for task, out in self._out.items():
            if out.planned.run.run_id not in self._begun:
                self._ray.cancel(task)
