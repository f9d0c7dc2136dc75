"""Where jobs go, through submitit: Slurm, or processes on this machine to try it out."""

from __future__ import annotations

import getpass
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hugbench.data.machine import available_cpus
from hugbench.errors import UserError
from hugbench.execution.executors.slurm_job import RunJob, warning_seconds
from hugbench.execution.sbatch import parameters
from hugbench.execution.where import Slurm

if TYPE_CHECKING:
    from submitit.core.core import Job

REQUEUES = 10**9
"""How often submitit may requeue a job that ran out of time: always. One that gets no further ends itself."""

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")

BLAMELESS = frozenset(
    {"BOOT_FAIL", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"}
)
"""Ends for which a run is not to blame if it got on."""

ENDED = BLAMELESS | {"CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY"}
"""States of jobs that are over; in any other a job waits, runs, or is about to."""


@dataclass(frozen=True)
class Shape:
    """What jobs need that are submitted together.

    Attributes:
        threads: CPU threads of the run, as OMP_NUM_THREADS; None leaves it as it is.
        cpus: processors of each process.
        gpus: GPUs, and processes, of a job; 0 for one process without.
        at_once: how many of the jobs may run at a time.
    """

    threads: int | None
    cpus: int
    gpus: int
    at_once: int


class Refused(Exception):
    """A cluster takes no jobs now, in its own words."""


class Cluster(Protocol):
    """Where jobs go.

    Attributes:
        name: tells those apart that know nothing of each other's jobs.
        queues: whether jobs that cannot run yet may be submitted.
        workers: how many jobs may run at a time.
        patience: seconds for which a job may be missing before it is lost.
        pauses: seconds between two calls of `alive`, the fewest and the most.
    """

    name: str
    queues: bool
    workers: int
    patience: float
    pauses: tuple[float, float]

    def submit(self, jobs: Sequence[RunJob], shape: Shape, folder: Path) -> list[str]:
        """The ids of the jobs, in their order. Raises `Refused`."""

    def alive(self, jobs: Iterable[str], folder: Path) -> set[str]:
        """Those that wait or run; all of them where that cannot be found out."""

    def state(self, job: str) -> str:
        """How a job ended, in the cluster's word; empty if that is not known."""

    def unqueue(self, jobs: Iterable[str]) -> None:
        """Cancel those that have not started."""

    def kill(self, jobs: Mapping[str, int | None]) -> None:
        """End jobs at once, by id with their process, where it is known."""


def cluster(where: Slurm, threads: int) -> Cluster:
    """The cluster that a user chose.

    Args:
        where: the options.
        threads: of the largest run.

    Raises:
        UserError: submitit is not installed, or Slurm is not on this machine.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"submitit cannot be imported ({error})",
            where="--executor slurm",
            expected="pip install 'hugbench[slurm]'",
        ) from None
    return Here(where, threads) if where.slurm_cluster == "local" else Nodes(where)


class Nodes:
    """A Slurm cluster, from a machine that can submit to it."""

    name, queues, patience, pauses = "slurm", True, 10.0, (2.0, 30.0)

    def __init__(self, where: Slurm) -> None:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        if missing:
            raise UserError(
                "Slurm is not on this machine",
                where="--executor slurm",
                found=f"no {', no '.join(missing)} on the path",
                expected="a machine that submits to Slurm, or --slurm-cluster local to try it out here",
            )
        self._where, self.workers = where, where.workers
        self._states: dict[str, str] = {}

    def submit(self, jobs: Sequence[RunJob], shape: Shape, folder: Path) -> list[str]:
        """See `Cluster`."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = SlurmExecutor(folder, max_num_timeout=REQUEUES)
        executor.update_parameters(**self._parameters(shape))
        with _environment(inside="SLURM_JOB_ID" in os.environ):
            try:
                return [job.job_id for job in executor.submit_array(list(jobs))]
            except (FailedJobError, FailedSubmissionError) as error:
                raise Refused(" ".join(str(error).split())) from None

    def _parameters(self, shape: Shape) -> dict[str, Any]:
        """What submitit is told; what a user adds comes last, and wins."""
        given = parameters(self._where.sbatch)
        names = given.options.keys()
        further = {key.replace("-", "_"): value for key, value in given.options.items()}
        asks_gpus = names & {"gres", "gpus", "gpus-per-task", "gpus-per-socket", "tres-per-task"}
        cpus = None if "cpus-per-gpu" in names else given.options.get("cpus-per-task", shape.cpus)
        threads = [] if shape.threads is None else [f"export OMP_NUM_THREADS={shape.threads}"]
        known: dict[str, Any] = {
            "job_name": "hugbench",
            "partition": self._where.partition,
            "time": math.ceil(self._where.time / 60),
            "ntasks_per_node": max(1, shape.gpus),
            "gpus_per_node": None if asks_gpus else shape.gpus or None,
            "cpus_per_task": cpus,
            "signal_delay_s": math.floor(warning_seconds(self._where.time)),
            "array_parallelism": shape.at_once,
            "stderr_to_stdout": True,
            "setup": [*given.setup, *threads],
            "srun_args": [] if cpus is None else [f"--cpus-per-task={cpus}"],  # not inherited since 22.05
            "additional_parameters": {"requeue": True, **further},
        }
        return {key: value for key, value in known.items() if value is not None}

    def alive(self, jobs: Iterable[str], folder: Path) -> set[str]:
        """See `Cluster`. One call for all, which knows of ended jobs for some minutes."""
        command = ["squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}"]
        try:
            told = _output([*command, "--format=%i %T"])
        except (OSError, subprocess.SubprocessError):
            return set(jobs)
        listed = dict(line.split()[:2] for line in told.splitlines() if len(line.split()) > 1)
        self._states.update(listed)
        return {job for job in jobs if job in listed and listed[job] not in ENDED}

    def state(self, job: str) -> str:
        """See `Cluster`. Where squeue has not seen the end, accounting may know of it."""
        seen = self._states.get(job, "")
        if seen in ENDED:
            return seen
        command = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={job}"]
        try:
            words = _output(command).split()
        except (OSError, subprocess.SubprocessError):
            return ""
        return words[0] if words else ""

    def unqueue(self, jobs: Iterable[str]) -> None:
        """See `Cluster`."""
        _cancel(jobs, "--state=PENDING")

    def kill(self, jobs: Mapping[str, int | None]) -> None:
        """See `Cluster`."""
        _cancel(jobs)


class Here:
    """Processes on this machine, as submitit's local executor starts them.

    Ctrl-C and the end of the terminal are not for them: they are born with SIGINT and SIGHUP blocked.
    """

    queues, patience, pauses = False, 0.0, (0.5, 0.5)

    def __init__(self, where: Slurm, threads: int) -> None:
        self.name = f"local on {platform.node()}"
        room = max(1, available_cpus() // threads)
        self.workers = where.workers if "workers" in where.model_fields_set else room
        self._where, self._started = where, 0
        self._jobs: dict[str, Job[None]] = {}

    def submit(self, jobs: Sequence[RunJob], shape: Shape, folder: Path) -> list[str]:
        """See `Cluster`."""
        from submitit import LocalExecutor

        ids: list[str] = []
        for job in jobs:
            executor = LocalExecutor(folder, max_num_timeout=REQUEUES)
            executor.update_parameters(
                timeout_min=self._where.time / 60,
                signal_delay_s=math.floor(warning_seconds(self._where.time)),
                tasks_per_node=max(1, shape.gpus),
                gpus_per_node=shape.gpus,
                visible_gpus=self._gpus(shape.gpus),
                stderr_to_stdout=True,
            )
            with _environment(inside=False, threads=shape.threads), _deaf():
                started = executor.submit(job)
            self._jobs[started.job_id] = started
            ids.append(started.job_id)
        return ids

    def _gpus(self, count: int) -> list[int]:
        """GPUs for the next job, in turn, of those that this process sees."""
        if not count:
            return []
        import torch

        told = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        visible = [int(index) for index in told if index.isdigit()] or list(range(torch.cuda.device_count()))
        first, self._started = self._started, self._started + count
        return [visible[index % len(visible)] for index in range(first, first + count)]

    def alive(self, jobs: Iterable[str], folder: Path) -> set[str]:
        """See `Cluster`."""
        return {job for job in jobs if self._lives(job, folder)}

    def _lives(self, job: str, folder: Path) -> bool:
        if job in self._jobs:
            return not self._jobs[job].done()
        try:
            told = _output(["ps", "-ww", "-o", "command=", "-p", job])
        except (OSError, subprocess.SubprocessError):
            return False
        return str(folder) in told

    def state(self, job: str) -> str:
        """See `Cluster`."""
        return ""

    def unqueue(self, jobs: Iterable[str]) -> None:
        """See `Cluster`: all have started."""

    def kill(self, jobs: Mapping[str, int | None]) -> None:
        """See `Cluster`. submitit's controller passes SIGTERM on to a process that is just starting."""
        for job, process in jobs.items():
            for number, how in ((int(job), signal.SIGTERM), (process, signal.SIGKILL)):
                if number is not None:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(number, how)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def _cancel(jobs: Iterable[str], *options: str) -> None:
    """scancel, some hundred at a time; jobs that are gone are no error."""
    ids = list(jobs)
    for first in range(0, len(ids), 200):
        with suppress(OSError, subprocess.TimeoutExpired):
            command = ["scancel", *options, *ids[first : first + 200]]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


@contextmanager
def _environment(inside: bool, threads: int | None = None) -> Iterator[None]:
    """The environment that jobs are to inherit.

    Args:
        inside: this is a job itself, whose shape the jobs must not take for theirs.
        threads: OMP_NUM_THREADS, if it is to be set.
    """
    before = dict(os.environ)
    if inside:
        for name in before:
            if name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")) and name != "SLURM_CONF":
                del os.environ[name]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started inside never hear SIGINT and SIGHUP; this one hears them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
