"""How runs become jobs: in arrays, as far as there is room, and none that another driver has submitted."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hugbench.errors import UserError
from hugbench.execution.events import Notice, Observer
from hugbench.execution.executors.slurm_clusters import Cluster, Refused, Shape
from hugbench.execution.executors.slurm_files import Inbox, Ledger, Submitted
from hugbench.execution.executors.slurm_job import RunJob
from hugbench.execution.place import names_in
from hugbench.execution.schedule import Work
from hugbench.execution.where import Slurm
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun

AGAIN_SECONDS = 30.0
"""After which jobs that a cluster refused are submitted again."""

GPU_CPUS = 4
"""Processors of a job for each of its GPUs, unless `--sbatch cpus-per-task` says otherwise."""


@dataclass
class Attempt:
    """A job for a run, in the cluster's hands.

    Attributes:
        planned: the run.
        submitted: the jobs of the driver that submitted it.
        name: of the attempt among them.
        array: the array that it is part of, counted from 0; None for one that another driver submitted.
        inbox: what the job says.
        process: on the job's machine, once it has come to its run.
        got_on: whether it has stored anything.
        missing: since when it is not in the queue, in seconds of a monotonic clock.
    """

    planned: PlannedRun
    submitted: Submitted
    name: str
    array: int | None
    inbox: Inbox
    process: int | None = None
    got_on: bool = False
    missing: float | None = None

    @property
    def job(self) -> str:
        """The job's id."""
        return self.submitted.jobs[self.name]

    @property
    def where(self) -> tuple[Path, str]:
        """The folder of the driver that submitted the job, and its id."""
        return self.submitted.path, self.job

    def ask_to_stop(self) -> None:
        """At its next checkpoint."""
        self.submitted.mailbox(self.name).stop.touch()


class Submitter:
    """Submits runs, and takes up what another driver has submitted.

    Attributes:
        waiting: runs that are still to be submitted, in order.
    """

    def __init__(self, where: Slurm, work: Work, cluster: Cluster, ledger: Ledger, observe: Observer) -> None:
        self.waiting: list[PlannedRun] = []
        self._where, self._work, self._cluster = where, work, cluster
        self._ledger, self._observe = ledger, observe
        self._data = names_in(work.place.data)
        self._arrays: list[int] = []
        self._refused, self._again_at = False, 0.0

    def next(self, out: Collection[Attempt]) -> tuple[list[Attempt], list[PlannedRun]] | None:
        """Bring the next runs that wait to the cluster; None if there are none, or no room.

        An array of many runs waits until half of `workers` are free: how many of it run at a time is
        settled when it is submitted.

        Args:
            out: all jobs that are in the cluster's hands.

        Returns:
            The new jobs, and the runs that another process is at.

        Raises:
            UserError: the cluster takes no jobs.
        """
        if not self.waiting or time.monotonic() < self._again_at:
            return None
        workers = self._cluster.workers
        free = workers - self._taken(out)
        threads = self._threads(self.waiting[0])
        alike = [planned for planned in self.waiting if self._threads(planned) == threads]
        group = alike[: self._where.array_size if self._cluster.queues else max(0, free)]
        if not group or free < min(len(group), max(1, workers // 2)):
            return None
        gpus = self._where.gpus_per_run or int(self._work.place.device.type == "cuda")
        with self._ledger.alone():
            adopted, busy, fresh = self._sorted(group)
            shape = Shape(threads, threads or GPU_CPUS, gpus, min(free, len(fresh)))
            started = self._start(fresh, shape, bool(out or adopted)) if fresh else []
        settled = {id(attempt.planned) for attempt in (*adopted, *started)} | set(map(id, busy))
        self.waiting = [planned for planned in self.waiting if id(planned) not in settled]
        return [*adopted, *started], busy

    def is_busy(self, planned: PlannedRun) -> bool:
        """Whether a process is at a run."""
        return RunFolder(self._work.place.results, planned.run.run_id).worker() is not None

    def _sorted(self, group: list[PlannedRun]) -> tuple[list[Attempt], list[PlannedRun], list[PlannedRun]]:
        """Runs that have a job already, those that another process is at, and those to submit."""
        theirs = self._live_elsewhere()
        adopted: list[Attempt] = []
        busy: list[PlannedRun] = []
        fresh: list[PlannedRun] = []
        for planned in group:
            if planned.run.run_id in theirs:
                adopted.append(self._adopt(planned, *theirs[planned.run.run_id]))
            else:
                (busy if self.is_busy(planned) else fresh).append(planned)
        if adopted:
            self._observe(Notice(f"{len(adopted)} runs go on in jobs that are there already"))
        return adopted, busy, fresh

    def _live_elsewhere(self) -> dict[str, tuple[Submitted, str]]:
        """Runs for which a job of another driver waits or runs: by id, that driver's jobs and the attempt."""
        found: dict[str, tuple[Submitted, str]] = {}
        for other in self._ledger.others():
            live = self._cluster.alive(other.jobs.values(), other.path) if other.jobs else set()
            for name, job in other.jobs.items():
                if job in live:
                    found[name.rpartition(".")[0]] = other, name
        return found

    def _adopt(self, planned: PlannedRun, other: Submitted, name: str) -> Attempt:
        """Go on with another driver's job; a wish of that driver to stop it is taken back."""
        mailbox = other.mailbox(name)
        mailbox.stop.unlink(missing_ok=True)
        return Attempt(planned, other, name, None, Inbox(mailbox))

    def _start(self, fresh: list[PlannedRun], shape: Shape, others: bool) -> list[Attempt]:
        """Submit an array; nothing if the cluster takes no more than the `others` that are out."""
        own, array = self._ledger.own, len(self._arrays)
        attempts = {f"{planned.run.run_id}.{array}": planned for planned in fresh}
        jobs = [self._job(planned, name, shape) for name, planned in attempts.items()]
        try:
            ids = self._cluster.submit(jobs, shape, own.path / "submitit")
        except Refused as error:
            self._hold_back(error, others)
            return []
        own.note(dict(zip(attempts, ids, strict=True)))
        self._arrays.append(shape.at_once)
        self._refused = False
        if self._cluster.queues:
            ends = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
            self._observe(Notice(f"{len(ids)} runs are in Slurm's queue: {ends}"))
        return [
            Attempt(planned, own, name, array, Inbox(own.mailbox(name))) for name, planned in attempts.items()
        ]

    def _job(self, planned: PlannedRun, name: str, shape: Shape) -> RunJob:
        return RunJob(
            planned,
            self._work.evaluations,
            self._work.place,
            self._ledger.own.mailbox(name),
            tuple(sys.path),
            self._data,
            self._where.time,
            max(1, shape.gpus),
        )

    def _hold_back(self, error: Refused, others: bool) -> None:
        """Wait until the cluster takes jobs again; if none of ours is there, that will not change."""
        if not others:
            raise UserError(
                f"Slurm refuses the jobs: {error}",
                where="--executor slurm",
                expected="--partition, --time and --sbatch that it takes, and no more jobs at a time "
                "(--array-size) than it allows",
            )
        if not self._refused:
            self._refused = True
            self._observe(Notice(f"Slurm takes no more jobs now ({error}); the rest waits"))
        self._again_at = time.monotonic() + AGAIN_SECONDS

    def _taken(self, out: Collection[Attempt]) -> int:
        """How many may run at a time as it is: of each array those that are left, at most its share."""
        left = Counter(attempt.array for attempt in out)
        return sum(
            count if array is None else min(count, self._arrays[array]) for array, count in left.items()
        )

    def _threads(self, planned: PlannedRun) -> int | None:
        return self._work.threads.get(planned.run.run_id)
