"""How far a suite is and how long the rest may take, from its events alone; and each event in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hugbench.execution.events import (
    EpochDone,
    Evaluated,
    Event,
    Notice,
    Printed,
    RunDone,
    RunFailed,
    RunStarted,
    RunWaiting,
    SuiteStarted,
)
from hugbench.reporting.tables import duration, metric_value


@dataclass
class Running:
    """A run in training: epochs behind it, its last epoch, seconds of its epochs in this session."""

    name: str
    epochs: int
    done: int
    last: EpochDone | None = None
    seconds: float = 0.0


class Progress:
    """The state of a suite after the events so far.

    Attributes:
        suite: how it started; None before.
        running: runs in training or evaluation, by id.
        headlines: first number of each run's first evaluation, in words, by id.
        finished: runs that were completed in this session.
        failed: runs that failed in this session.
        at_once: the most runs that were going on at a time.
    """

    def __init__(self) -> None:
        self.suite: SuiteStarted | None = None
        self.running: dict[str, Running] = {}
        self.headlines: dict[str, str] = {}
        self.finished = 0
        self.failed = 0
        self.at_once = 0
        self._epochs = 0
        self._epoch_seconds = 0.0
        self._other_seconds = 0.0
        self._usual_epochs = 0

    @property
    def behind(self) -> int:
        """Runs with nothing left to do, those of earlier sessions included."""
        earlier = self.suite.total - self.suite.pending if self.suite else 0
        return earlier + self.finished + self.failed

    def note(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case SuiteStarted():
                self.suite = event
            case RunStarted():
                name = run_name(event.label, event.seed)
                self.running[event.run_id] = Running(name, event.epochs, event.first_epoch)
                self._usual_epochs = event.epochs
                self.at_once = max(self.at_once, len(self.running))
            case EpochDone():
                self._epoch(event)
            case Evaluated():
                words = f"{spoken(event.metric)} {metric_value(event.metric, event.headline)}"
                self.headlines.setdefault(event.run_id, words)
            case RunDone():
                trained = self.running.pop(event.run_id, None)
                self._other_seconds += max(0.0, event.seconds - (trained.seconds if trained else 0.0))
                self.finished += 1
            case RunFailed():
                self.running.pop(event.run_id, None)
                self.failed += 1

    def seconds_left(self) -> float | None:
        """Estimate for all that is pending; None before the first epoch.

        Every epoch is taken to last as long as the mean of those finished, every run that has not
        started to have as many as the last one that has, and to need as much beside training. As many
        runs go on at a time as there are workers or, once one is finished, as ever were; it takes at
        least as long as the one with the most epochs left.
        """
        if self.suite is None or not self._epochs:
            return None
        left = self.suite.pending - self.finished - self.failed
        in_training = [run.epochs - run.done for run in self.running.values()]
        epochs = in_training + max(0, left - len(in_training)) * [self._usual_epochs]
        beside = self._other_seconds / self.finished if self.finished else 0.0
        each = [count * self._epoch_seconds / self._epochs + beside for count in epochs]
        return max([sum(each) / self._parallel(left), *each], default=0.0)

    def _parallel(self, left: int) -> int:
        """How many of the runs that are left go on at a time."""
        assert self.suite is not None
        workers = self.suite.workers if not self.finished else min(self.suite.workers, self.at_once)
        return max(1, min(workers, left))

    def _epoch(self, event: EpochDone) -> None:
        self._epochs += 1
        self._epoch_seconds += event.seconds
        if run := self.running.get(event.run_id):
            run.done, run.last = event.epoch + 1, event
            run.seconds += event.seconds


def in_words(event: Event, progress: Progress) -> str:
    """One line for an event that `progress` has taken in; empty where there is nothing to say."""
    match event:
        case SuiteStarted():
            return _beginning(event)
        case RunStarted():
            name = run_name(event.label, event.seed)
            if event.first_epoch:
                return f"{name}: goes on after epoch {event.first_epoch} of {event.epochs}"
            return f"{name}: training, {event.epochs} {'epoch' if event.epochs == 1 else 'epochs'}"
        case EpochDone():
            run, left = progress.running.get(event.run_id), progress.seconds_left()
            name = run.name if run else event.run_id
            ending = "" if left is None else f", about {duration(left)} left"
            return f"{name}: epoch {event.epoch + 1}/{event.epochs}, {figures(event)}{ending}"
        case RunDone():
            how = "done already" if event.reused else f"done in {duration(event.seconds)}"
            parts = [how, *filter(None, [progress.headlines.get(event.run_id)])]
            return f"{_count(progress)} {run_name(event.label, event.seed)}: {', '.join(parts)}"
        case RunFailed():
            error = " ".join(event.error.split())
            return f"{_count(progress)} {run_name(event.label, event.seed)}: FAILED, {error}"
        case RunWaiting():
            return f"{run_name(event.label, event.seed)}: waiting for {event.holder}, which is at it"
        case Notice():
            return f"Note: {event.text}"
        case Printed():
            return event.text
        case Evaluated():
            return ""


def figures(event: EpochDone) -> str:
    """Loss, training accuracy and speed of an epoch."""
    accuracy = "" if math.isnan(event.accuracy) else f"train accuracy {100 * event.accuracy:.1f} %, "
    return f"loss {event.loss:.4g}, {accuracy}{event.images_per_second:,.0f} images/s"


def run_name(label: str, seed: int) -> str:
    """What a run is called on the screen."""
    return f"{label}, seed {seed}"


def spoken(metric: str) -> str:
    """A metric's name in words."""
    return metric.replace("_", " ")


def _beginning(event: SuiteStarted) -> str:
    runs = f"{event.total:,} run{'' if event.total == 1 else 's'}"
    if not event.pending:
        return f"{event.suite}: {runs}, nothing left to do"
    done = event.total - event.pending
    before = f"{done:,} done before, " if done else ""
    parallel = f"up to {event.workers:,} at a time, " if event.workers > 1 else ""
    return f"{event.suite}: {runs}, {before}{parallel}results in {event.results}"


def _count(progress: Progress) -> str:
    return f"[{progress.behind}/{progress.suite.total if progress.suite else '?'}]"
