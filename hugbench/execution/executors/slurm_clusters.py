"""Where jobs go, through submitit: Slurm, or processes on this machine to try it out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hugbench.errors import UserError
from hugbench.execution.executors.slurm_job import RunJob
from hugbench.execution.where import Slurm
from hugbench.registry import load_target

REQUEUES = 10**9
"""How often submitit may requeue a job that ran out of time: always. One that gets no further ends itself."""

TARGETS = {
    "slurm": "hugbench.execution.executors.slurm_nodes:Nodes",
    "local": "hugbench.execution.executors.slurm_here:Here",
}

BLAMELESS = frozenset(
    {"BOOT_FAIL", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"}
)
"""Ends for which a run is not to blame if it got on."""


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
    chosen: Cluster = load_target(TARGETS[where.slurm_cluster])(where, threads)
    return chosen


def output(command: list[str]) -> str:
    """What a command says. Raises OSError or SubprocessError."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@contextmanager
def inherited(inside: bool, threads: int | None = None) -> Iterator[None]:
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
