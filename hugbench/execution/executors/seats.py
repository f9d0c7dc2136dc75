"""How many processes pay on this machine, and what each of them gets of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hugbench.data.machine import available_cpus, available_memory
from hugbench.execution.schedule import Work
from hugbench.execution.where import Local

WORKER_MEMORY = 3 << 29
"""Bytes that a worker takes beside the data, which all share: torch and a small model."""


@dataclass(frozen=True)
class Seat:
    """Room for a worker: its part of the processors, and the GPU that it sees (None: as the driver)."""

    cpus: int
    gpu: str | None = None


def seats_for(where: Local, work: Work) -> list[Seat]:
    """The workers that pay, at most one for each run.

    One for each GPU that `--device auto` or `cuda` means. On the CPU as many as there are processors
    for runs of the fewest threads among the work, and memory for; they share the processors.
    `where.workers` decides instead, if it is given. One, where a loss is known in this process only.
    """
    cpus, runs = available_cpus(), 1 if bound(work) else max(1, len(work.runs))
    if work.place.device.type == "cpu":
        least = min(work.threads.values(), default=1)
        pays = max(1, min(cpus // least, available_memory() // WORKER_MEMORY))
        return _shared(min(where.workers or pays, runs), cpus, [None])
    gpus: Sequence[str | None] = _gpus() if work.place.device == torch.device("cuda") else [None]
    return _shared(min(where.workers or len(gpus), runs), cpus, gpus)


def bound(work: Work) -> str | None:
    """A loss that other processes cannot import, such as one of a notebook's cell; None without."""
    targets = (planned.run.criterion.target for planned in work.runs)
    return next((target for target in targets if target.startswith("__main__.")), None)


def _shared(count: int, cpus: int, gpus: Sequence[str | None]) -> list[Seat]:
    return [Seat(max(1, cpus // count), gpus[index % len(gpus)]) for index in range(count)]


def _gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES writes them."""
    visible, count = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()
    names = visible.split(",") if visible else map(str, range(count))
    return [name.strip() for name in names][:count]
