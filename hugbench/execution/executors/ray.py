"""Every run a task on a Ray cluster."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from hugbench.errors import HugbenchError
from hugbench.execution.control import Control
from hugbench.execution.events import Notice, Observer
from hugbench.execution.executors.parcels import put_back
from hugbench.execution.executors.ray_cluster import Cluster, connected
from hugbench.execution.executors.ray_desk import Begun, Desk
from hugbench.execution.executors.ray_orders import Orders, needs_of, place_for, token_in
from hugbench.execution.executors.ray_worker import Attempt, attempt, thread_settings
from hugbench.execution.schedule import Schedule, Tally, Work
from hugbench.execution.where import Ray, Where
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun

LISTEN_SECONDS = 0.2
"""How long is waited for a task to end before its events are taken."""

LOOK_SECONDS = 3.0
"""How often is looked whether the cluster is there, and how large it is."""

QUEUED = 2
"""Tasks that wait at Ray beyond those that have room: a worker has its next one at once."""

FALSE_STARTS = 3
"""How many workers in a row may end before they come to their run."""


def ray(where: Where, work: Work, control: Control, observe: Observer) -> Tally:
    """Every run as a Ray task with its needs, on a running cluster or a local one.

    Raises:
        UserError: no Ray, no such cluster, no room on it, or its nodes lack the data.
        HugbenchError: the cluster does not start, does not run hugbench, or goes away.
    """
    assert isinstance(where, Ray)
    work = replace(work, place=place_for(where, work.place))
    with connected(where, needs_of(where, work)) as cluster, token_in(work.place) as token:
        orders = Orders(where, work, token, *cluster.rooms(), observe)
        driver = _Driver(where, work, control, observe, cluster, orders)
        try:
            return driver.run()
        except BaseException:
            driver.abandon()
            raise
        finally:
            driver.close()


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
        orders: Orders,
    ) -> None:
        self._control, self._observe = control, observe
        self._cluster, self._ray, self._orders = cluster, cluster.ray, orders
        self._results, self._workers = work.place.results, where.workers
        self._schedule = Schedule(work, control, observe)
        self._out: dict[Any, _Out] = {}
        self._begun: set[str] = set()
        self._sending = self._cancelled = self._told_room = False
        self._false_starts, self._looked = 0, time.monotonic()
        self._room, largest = cluster.rooms()
        path = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": cluster.near()}
        self._desk = self._ray.remote(Desk).options(runtime_env=path, **options).remote()
        self._taking: Any = None
        # a process that has used one GPU cannot use another: where there are several it ends with its run
        again = 1 if orders.gpus and largest.gpus > 1 else 0
        task = self._ray.remote(max_retries=0, max_calls=again, runtime_env=path)(attempt)
        self._start: Callable[..., Any] = task.options

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
        if self._is_reachable():
            for task in self._out:
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """Give back what was held here and on the cluster."""
        for out in self._out.values():
            out.lock.close()
        if self._is_reachable():
            self._ray.kill(self._desk)

    def _is_reachable(self) -> bool:
        """Whether there is a cluster that goes on without this driver, and that hears it."""
        return not self._cluster.own and not self._cluster.gone() and not self._cluster.silent

    def _fits(self, planned: PlannedRun) -> bool:
        """Whether there is room for a run beside those that are out, or a place to wait for it."""
        out, cpus, gpus = self._out.values(), self._orders.cpus(planned), self._orders.gpus
        if self._workers is not None and len(out) >= self._workers:
            return False
        if gpus:
            return sum(other.gpus for other in out) <= self._room.gpus + (QUEUED - 1) * gpus
        return sum(other.cpus for other in out) <= self._room.cpus + (QUEUED - 1) * cpus

    def _send(self, planned: PlannedRun) -> None:
        """Give a run to Ray; with its files once a worker has said that it does not see them."""
        lock, parcels = ExitStack(), None
        if self._sending:
            if not lock.enter_context(self._folder(planned).lock()):
                self._schedule.settle(planned, "busy")
                return
            parcels = self._orders.parcels(planned)
        cpus, gpus = self._orders.cpus(planned), self._orders.gpus
        start = self._start(num_cpus=cpus, num_gpus=gpus)
        task = start.remote(thread_settings(), self._orders.order(planned), parcels, self._desk)
        self._begun.discard(planned.run.run_id)
        self._out[task] = _Out(planned, cpus, gpus, lock)

    def _folder(self, planned: PlannedRun) -> RunFolder:
        return RunFolder(self._results, planned.run.run_id)

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
                refused = put_back(self._folder(out.planned), ended.parcel)
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
        if isinstance(error, errors.LocalRayletDiedError):
            raise _gone() from error
        begun = out.planned.run.run_id in self._begun
        if isinstance(error, errors.OutOfMemoryError):
            how = "was ended by Ray, for the machine had no memory left"
        elif isinstance(error, errors.WorkerCrashedError):
            how = "was killed or crashed"
        else:
            self._schedule.lost(out.planned, f"was lost with its node ({type(error).__name__})", blame=False)
            return
        if not begun:
            self._false_starts += 1
            if self._false_starts == FALSE_STARTS:
                raise HugbenchError(f"Ray's workers do not come to their runs; the last {how}")
        self._schedule.lost(out.planned, how, blame=begun)

    def _look(self) -> None:
        """See now and then whether the cluster is there, and what it has.

        Raises:
            HugbenchError: it has gone away.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._cluster.gone():
            raise _gone()
        if self._cluster.silent:
            return
        self._room, _ = self._cluster.rooms()
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


def _gone() -> HugbenchError:
    return HugbenchError(
        "the Ray cluster has gone away; what is finished is kept, the same command goes on from there"
    )
