"""Processes on this machine in place of a cluster, as submitit's local executor starts them."""

from __future__ import annotations

import math
import os
import platform
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hugbench.data.machine import available_cpus
from hugbench.execution.executors.slurm_clusters import REQUEUES, Shape, inherited, output
from hugbench.execution.executors.slurm_job import RunJob, warning_seconds
from hugbench.execution.where import Slurm

if TYPE_CHECKING:
    from submitit.core.core import Job


class Here:
    """This machine.

    Ctrl-C and the end of the terminal are not for the jobs: they are born with SIGINT and SIGHUP blocked.
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
            with inherited(inside=False, threads=shape.threads), _deaf():
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
            told = output(["ps", "-ww", "-o", "command=", "-p", job])
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


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started inside never hear SIGINT and SIGHUP; this one hears them afterwards.

    That their time is up (SIGUSR2) they hear once they listen, and do not die of it before.
    """
    numbers = {signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
