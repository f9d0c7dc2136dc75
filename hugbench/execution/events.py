"""What happens while a suite runs, as plain values that any observer may show, log or ignore."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SuiteStarted:
    """`pending` of `total` runs have work left, and up to `workers` of them go on at a time."""

    suite: str
    total: int
    pending: int
    results: str
    workers: int = 1


@dataclass(frozen=True)
class RunStarted:
    """A run begins, or goes on from `first_epoch` (counted from 0) of `epochs`."""

    run_id: str
    label: str
    seed: int
    epochs: int
    first_epoch: int = 0


@dataclass(frozen=True)
class EpochDone:
    """One epoch of training is over (`epoch` counted from 0), and its checkpoint written."""

    run_id: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of a run is stored; `headline` is its first number, `rows` are all of its records."""

    run_id: str
    evaluation: str
    metric: str
    headline: float
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RunDone:
    """A run is complete; `reused` if there was nothing left to do."""

    run_id: str
    label: str
    seed: int
    seconds: float
    reused: bool = False


@dataclass(frozen=True)
class RunFailed:
    """A run ended with an error; the others go on."""

    run_id: str
    label: str
    seed: int
    error: str


@dataclass(frozen=True)
class RunWaiting:
    """Another process works on this run."""

    run_id: str
    label: str
    seed: int
    holder: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know: a damaged file redone, a cache that could not be written."""

    text: str


@dataclass(frozen=True)
class Printed:
    """A line that something within a worker, such as a loss of the user's own, wrote to its output."""

    text: str


Event = (
    SuiteStarted | RunStarted | EpochDone | Evaluated | RunDone | RunFailed | RunWaiting | Notice | Printed
)
Observer = Callable[[Event], None]
