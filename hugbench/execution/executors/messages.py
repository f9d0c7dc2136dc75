"""What the driver and a worker of the local pool say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hugbench.execution.events import Event
from hugbench.execution.place import Place
from hugbench.execution.schedule import Result
from hugbench.suite.plan import PlannedRun
from hugbench.suite.plugins import EvaluationSpec


@dataclass(frozen=True)
class Setup:
    """The first message to a worker.

    Attributes:
        evaluations: asked of each run.
        place: data, results and device.
        cpus: its part of the processors.
        unnamed: data that it shares, see `hugbench.data.cache.unnamed`.
    """

    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    cpus: int
    unnamed: Mapping[Path, int]


@dataclass(frozen=True)
class Stop:
    """To a worker: end at the next checkpoint."""


@dataclass(frozen=True)
class Ready:
    """From a worker: everything is imported."""


@dataclass(frozen=True)
class Ended:
    """From a worker: an attempt at a run has ended."""

    result: Result


@dataclass(frozen=True)
class Raised:
    """From a worker: an error that concerns every run, such as a full disk."""

    error: Exception


ToWorker = PlannedRun | Stop
FromWorker = Ready | Event | Ended | Raised
