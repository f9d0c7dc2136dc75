"""A Slurm cluster: sbatch through submitit, and Slurm's own commands for what became of the jobs."""

from __future__ import annotations

import getpass
import math
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hugbench.errors import UserError
from hugbench.execution.executors.slurm_clusters import BLAMELESS, REQUEUES, Refused, Shape, inherited, output
from hugbench.execution.executors.slurm_job import RunJob, warning_seconds
from hugbench.execution.sbatch import parameters
from hugbench.execution.where import Slurm

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")

ENDED = BLAMELESS | {"CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY"}
"""States of jobs that are over; in any other a job waits, runs, or is about to."""


class Nodes:
    """A Slurm cluster, from a machine that can submit to it."""

    name, queues, patience, pauses = "slurm", True, 10.0, (2.0, 30.0)

    def __init__(self, where: Slurm, threads: int) -> None:
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
        with inherited(inside="SLURM_JOB_ID" in os.environ):
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
            told = output([*command, "--format=%i %T"])
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
            words = output(command).split()
        except (OSError, subprocess.SubprocessError):
            return ""
        return words[0] if words else ""

    def unqueue(self, jobs: Iterable[str]) -> None:
        """See `Cluster`."""
        _cancel(jobs, "--state=PENDING")

    def kill(self, jobs: Mapping[str, int | None]) -> None:
        """See `Cluster`."""
        _cancel(jobs)


def _cancel(jobs: Iterable[str], *options: str) -> None:
    """scancel, some hundred at a time; jobs that are gone are no error."""
    ids = list(jobs)
    for first in range(0, len(ids), 200):
        with suppress(OSError, subprocess.TimeoutExpired):
            command = ["scancel", *options, *ids[first : first + 200]]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
