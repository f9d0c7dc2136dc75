"""Every run a job of a Slurm array, submitted with submitit.

The driver submits, shows what the jobs say, and finishes with the comparison. Jobs do not need it: without
it they go on, and one that is started again takes up those that wait or run. Only what is more than an
array holds, or has to be submitted again, waits for a driver.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from hugbench.errors import HugbenchError, UserError
from hugbench.execution.control import Control
from hugbench.execution.events import EpochDone, Evaluated, Notice, Observer
from hugbench.execution.executors.messages import Ended
from hugbench.execution.executors.slurm_clusters import BLAMELESS, Cluster, cluster
from hugbench.execution.executors.slurm_files import Begun, GaveUp, Ledger, Message, Trouble
from hugbench.execution.executors.slurm_submitting import Attempt, Submitter
from hugbench.execution.schedule import Result, Schedule, Tally, Work
from hugbench.execution.where import Slurm, Where
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun, asked

LISTEN_SECONDS = 0.2
"""How often the jobs' messages are read."""

BUSY_SECONDS = 30.0
"""After which it is asked again whether another driver has a job for a run that some process is at."""

GOING_SECONDS = 10.0
"""For which the driver waits at its end until its last jobs, which have said all, are gone."""

FALSE_STARTS = 3
"""How many jobs in a row may end before they come to their run."""


def slurm(where: Where, work: Work, control: Control, observe: Observer) -> Tally:
    """Every run in a job of its own, in arrays.

    Raises:
        UserError: no Slurm here, it takes no jobs, or a job's machine does not share the folders.
        HugbenchError: jobs do not start.
    """
    assert isinstance(where, Slurm)
    place = work.place
    device = torch.device("cuda") if where.gpus_per_run else place.device
    place = replace(place, data=place.data.absolute(), results=place.results.absolute(), device=device)
    if "%" in str(place.results):
        raise UserError("no % can be in the path of the results", where="--results", found=str(place.results))
    chosen = cluster(where, max(work.threads.values(), default=1))
    return _Driver(where, replace(work, place=place), chosen, control, observe).run()


class _Driver:
    """Has runs submitted, and hears what becomes of them."""

    def __init__(
        self, where: Slurm, work: Work, chosen: Cluster, control: Control, observe: Observer
    ) -> None:
        self._work, self._cluster = work, chosen
        self._control, self._observe = control, observe
        self._schedule = Schedule(work, control, observe)
        self._ledger = Ledger(work.place.results, chosen.name)
        self._submitter = Submitter(where, work, chosen, self._ledger, observe)
        self._out: dict[str, Attempt] = {}
        self._over: list[Attempt] = []
        self._submitted_at = self._poll_at = self._look_at = 0.0
        self._stopping = self._bad_end = False
        self._false_starts = 0

    def run(self) -> Tally:
        """Until every run has ended."""
        try:
            self._clean()
            while not self._schedule.over:
                if self._control.stopping():
                    self._stop()
                self._take()
                self._hand_over()
                time.sleep(LISTEN_SECONDS)
                for attempt in list(self._out.values()):
                    self._hear(attempt)
                self._look()
        except BaseException:
            self._kill()
            self._ledger.close()
            raise
        self._close()
        return self._schedule.tally

    def _take(self) -> None:
        """Take what is ready. A run that some process is at is handed over only now and then."""
        due = time.monotonic() >= self._look_at
        while (planned := self._schedule.take()) is not None:
            if not due and self._submitter.is_busy(planned):
                self._schedule.settle(planned, "busy")
            else:
                self._submitter.waiting.append(planned)

    def _hand_over(self) -> None:
        """Submit what waits, as far as there is room."""
        while (handed := self._submitter.next(self._out.values())) is not None:
            attempts, busy = handed
            self._out |= {attempt.planned.run.run_id: attempt for attempt in attempts}
            for planned in busy:
                self._schedule.settle(planned, "busy")
                self._look_at = time.monotonic() + BUSY_SECONDS
            self._submitted_at = self._poll_at = time.monotonic()

    def _hear(self, attempt: Attempt) -> None:
        """Take in what a job says."""
        for message in attempt.inbox.read():
            if self._is_out(attempt):
                self._take_in(attempt, message)

    def _is_out(self, attempt: Attempt) -> bool:
        return self._out.get(attempt.planned.run.run_id) is attempt

    def _take_in(self, attempt: Attempt, message: Message) -> None:
        match message:
            case Begun():
                self._false_starts, attempt.process = 0, message.process
            case Ended():
                self._end(attempt, message.result)
            case GaveUp():
                self._lose(attempt, message.how, blame=not attempt.got_on)
            case Trouble():
                raise UserError(message.text) if message.user else HugbenchError(message.text)
            case event:
                attempt.got_on = attempt.got_on or isinstance(event, EpochDone | Evaluated)
                self._observe(event)

    def _end(self, attempt: Attempt, result: Result) -> None:
        """Hand a run back. One that was stopped by another driver, or asked less by it, starts again."""
        self._over.append(self._out.pop(attempt.planned.run.run_id))
        again = (result == "stopped" and not self._control.stopping()) or (
            result == "done" and attempt.array is None and self._lacks(attempt.planned)
        )
        self._schedule.settle(attempt.planned, "busy" if again else result)

    def _lacks(self, planned: PlannedRun) -> bool:
        keys = [question.key for question in asked(planned, self._work.evaluations)]
        return RunFolder(self._work.place.results, planned.run.run_id).status().lacks(keys)

    def _look(self) -> None:
        """See which jobs are gone from the queue without a word."""
        now = time.monotonic()
        if now < self._poll_at or not self._out:
            return
        shortest, longest = self._cluster.pauses
        self._poll_at = now + max(shortest, min(longest, (now - self._submitted_at) / 2))
        out = list(self._out.values())
        live = self._live(out)
        for attempt in out:
            self._miss(attempt, attempt.where in live, now)

    def _live(self, attempts: list[Attempt]) -> set[tuple[Path, str]]:
        """Those of the jobs that are in the cluster's queue."""
        jobs: dict[Path, list[str]] = {}
        for attempt in attempts:
            jobs.setdefault(attempt.submitted.path, []).append(attempt.job)
        return {(path, job) for path, ids in jobs.items() for job in self._cluster.alive(ids, path)}

    def _miss(self, attempt: Attempt, alive: bool, now: float) -> None:
        if alive:
            attempt.missing = None
            return
        attempt.missing = now if attempt.missing is None else attempt.missing
        if now - attempt.missing < (0.0 if self._stopping else self._cluster.patience):
            self._poll_at = min(self._poll_at, now + self._cluster.pauses[0])
            return
        self._hear(attempt)  # its last words
        if not self._is_out(attempt):
            return
        if self._stopping:
            self._end(attempt, "stopped")
            return
        state = self._cluster.state(attempt.job)
        how = f"ended {f'as {state}' if state else 'without a word'} in job {attempt.job}"
        self._false_starts += attempt.process is None and state != "CANCELLED"
        innocent = attempt.got_on and (not state or state in BLAMELESS)
        self._lose(attempt, how, blame=not innocent)

    def _lose(self, attempt: Attempt, how: str, *, blame: bool) -> None:
        """A job is lost: its run is submitted again, or has failed.

        Raises:
            HugbenchError: several jobs in a row never came to their run.
        """
        self._bad_end = True
        if self._false_starts == FALSE_STARTS:
            raise HugbenchError(
                f"jobs do not start: the last {how}. Do all nodes share {self._work.place.results}, and the "
                f"Python that runs this? The jobs' logs are in {attempt.submitted.path / 'submitit'}"
            )
        self._over.append(self._out.pop(attempt.planned.run.run_id))
        self._schedule.lost(attempt.planned, how, blame=blame)

    def _stop(self) -> None:
        """Jobs that run stop at their next checkpoint; those that wait are cancelled."""
        if self._stopping:
            return
        self._stopping = True
        for planned in self._submitter.waiting:
            self._schedule.settle(planned, "stopped")
        self._submitter.waiting.clear()
        for attempt in self._out.values():
            attempt.ask_to_stop()
        self._cluster.unqueue([attempt.job for attempt in self._out.values()])
        self._submitted_at = self._poll_at = time.monotonic()

    def _kill(self) -> None:
        """End all jobs at once; their runs go on from their last checkpoints another time.

        Those too that were submitted just now and are not out yet.
        """
        own, over = self._ledger.own, {attempt.where for attempt in self._over}
        for name, job in own.jobs.items():
            if (own.path, job) not in over:
                own.mailbox(name).stop.touch()
        for attempt in self._out.values():
            attempt.ask_to_stop()
        known = {attempt.job: attempt.process for attempt in self._out.values()}
        new = {job: None for job in own.jobs.values() if (own.path, job) not in over}
        self._cluster.kill(new | known)

    def _close(self) -> None:
        """Leave nothing behind, once the last jobs are gone, but the logs of those that ended badly."""
        own = self._ledger.own
        if self._bad_end:
            logs = own.path / "submitit"
            self._observe(Notice(f"the logs of jobs that ended badly are in {logs}, until the next run"))
            self._ledger.close()
            return
        end = time.monotonic() + GOING_SECONDS
        while (live := self._live(self._over)) and time.monotonic() < end:
            time.sleep(self._cluster.pauses[0])
        self._ledger.close()
        if not live:
            self._ledger.discard(own)
        self._clean()

    def _clean(self) -> None:
        """Remove what drivers that are gone left of jobs that are over."""
        with self._ledger.alone():
            for other in self._ledger.others():
                if not self._cluster.alive(other.jobs.values(), other.path):
                    self._ledger.discard(other)
