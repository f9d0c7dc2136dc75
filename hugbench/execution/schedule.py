"""Which run is next, and what becomes of one that ended, was in the way, or lost its worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hugbench.execution.control import Control
from hugbench.execution.events import Notice, Observer, RunFailed, RunWaiting
from hugbench.execution.place import Place
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun
from hugbench.suite.plugins import EvaluationSpec

Result = Literal["done", "failed", "busy", "waiting", "stopped"]
"""How an attempt at a run ended: `busy` if another process is at it, `waiting` if all is done but what
needs the paired baseline, which is not there yet, `stopped` at a checkpoint because that was asked for."""

POLL_SECONDS = 0.5
"""How often runs in other processes' hands are looked at."""

ATTEMPTS = 3
"""How often a run may lose its worker before it has failed."""


@dataclass(frozen=True)
class Work:
    """What an executor is to bring to its end.

    Attributes:
        runs: in the order in which they start.
        evaluations: asked of each.
        place: data, results and device.
        threads: CPU threads of each run, by id; empty on an accelerator, where each takes one.
    """

    runs: tuple[PlannedRun, ...]
    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    threads: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """Ids of the runs that are done, of those that failed, and of those that are left for another time."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Schedule:
    """The runs of a suite between their start and their end; what every executor shares.

    Args:
        work: the runs, in order.
        control: no run is given out once it says stop.
        observe: is told of runs that wait, and of those that failed with their worker.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        work: Work,
        control: Control,
        observe: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = Tally()
        self._work, self._control, self._observe, self._clock = work, control, observe, clock
        self._ready = {planned.run.run_id: planned for planned in work.runs}
        self._out: dict[str, PlannedRun] = {}
        self._aside: dict[str, tuple[PlannedRun, Result, float]] = {}
        self._lost: dict[str, int] = {}
        self._told: set[str] = set()

    @property
    def out(self) -> int:
        """How many runs are given out."""
        return len(self._out)

    @property
    def over(self) -> bool:
        """Whether every run has ended or is left for another time."""
        if self._control.stopping() and not self._out:
            self._leave([*self._ready.values(), *(planned for planned, _, _ in self._aside.values())])
            self._ready, self._aside = {}, {}
        return not (self._ready or self._out or self._aside)

    def take(self, fits: Callable[[PlannedRun], bool] = lambda planned: True) -> PlannedRun | None:
        """The next run, which is then given out; None if there is none now, or if it does not fit.

        None overtakes: a large run that does not fit yet waits for room, and is not starved.
        """
        if self._control.stopping():
            return None
        self._recall()
        planned = next(iter(self._ready.values()), None)
        if planned is None or not fits(planned):
            return None
        self._out[planned.run.run_id] = self._ready.pop(planned.run.run_id)
        return planned

    def settle(self, planned: PlannedRun, result: Result) -> None:
        """Hand back a run whose attempt has ended."""
        run_id = planned.run.run_id
        del self._out[run_id]
        if result == "done":
            self.tally.done.append(run_id)
        elif result == "failed":
            self.tally.failed.append(run_id)
        elif result == "stopped":
            self._leave([planned])
        else:
            self._put_aside(planned, result)

    def lost(self, planned: PlannedRun, how: str, *, blame: bool = True) -> None:
        """Hand back a run whose worker ended without a word: it starts again, or has failed.

        Args:
            planned: the run.
            how: what is known of the end, such as "killed by SIGKILL".
            blame: the run may be to blame; one that is for the third time has failed.
        """
        run, attempt = planned.run, self._lost.get(planned.run.run_id, 0) + blame
        self._lost[run.run_id] = attempt
        del self._out[run.run_id]
        if attempt < ATTEMPTS:
            name = f"{planned.label}, seed {run.seed}"
            self._observe(Notice(f"{name}: its worker {how}; the run goes on from its last checkpoint"))
            self._ready = {run.run_id: planned, **self._ready}
            return
        error = f"WorkerLost: its worker {how}, the third that was lost with this run"
        folder = RunFolder(self._work.place.results, run.run_id)
        with folder.lock() as mine:
            if mine:
                status = folder.status()
                status.state, status.error = "failed", error
                folder.write_status(status)
        self.tally.failed.append(run.run_id)
        self._observe(RunFailed(run.run_id, planned.label, run.seed, error))

    def _leave(self, runs: list[PlannedRun]) -> None:
        self.tally.left += [planned.run.run_id for planned in runs]

    def _put_aside(self, planned: PlannedRun, result: Result) -> None:
        """Try again later; a run that waits for a baseline that nobody is at is left."""
        run, reference = planned.run, planned.reference
        if result == "waiting" and reference is not None and not self._ours(reference.run_id):
            holder = RunFolder(self._work.place.results, reference.run_id)
            with holder.lock() as free:
                settled = holder.status().state in ("trained", "failed")
            if free and not settled:
                self._leave([planned])
                return
        if result == "busy" and run.run_id not in self._told:
            self._told.add(run.run_id)
            holder_name = RunFolder(self._work.place.results, run.run_id).holder()
            self._observe(RunWaiting(run.run_id, planned.label, run.seed, holder_name))
        soon = result == "waiting" and reference is not None and self._ours(reference.run_id)
        self._aside[run.run_id] = planned, result, self._clock() + (0.0 if soon else POLL_SECONDS)

    def _recall(self) -> None:
        """Make ready again what was put aside and may now get on; it comes last."""
        for run_id, (planned, result, when) in list(self._aside.items()):
            reference = None if result == "busy" or planned.reference is None else planned.reference.run_id
            if reference is not None and self._ours(reference):
                continue
            if self._clock() >= when:
                del self._aside[run_id]
                self._ready[run_id] = planned

    def _ours(self, run_id: str) -> bool:
        """Whether a run is still ahead of this schedule or being worked on."""
        return run_id in self._ready or run_id in self._out or run_id in self._aside
