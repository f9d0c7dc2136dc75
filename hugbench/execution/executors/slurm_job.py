"""What happens within a job: one run, until it ends, a stop is asked for, or the job's time is up.

submitit sends SIGUSR2 some time before a job's end, and when it is preempted. The run then stops at its
next checkpoint, or where that does not come in time just before the end; submitit requeues the job,
and it goes on from the checkpoint. A job that could store nothing in all of its time is not requeued.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from hugbench.errors import UserError
from hugbench.execution.events import EpochDone, Evaluated, Event, Notice, Printed
from hugbench.execution.executors.messages import Ended
from hugbench.execution.executors.printing import shown
from hugbench.execution.executors.slurm_files import Begun, GaveUp, Mailbox, Message, Trouble
from hugbench.execution.place import Place, names_in
from hugbench.suite.plan import PlannedRun
from hugbench.suite.plugins import EvaluationSpec

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

LOOK_SECONDS = 1.0
"""How often a job looks for a wish to stop, at most."""

LEAVE_SECONDS = 30.0
"""How long before its end, at most, a job that came to no checkpoint has itself requeued."""

ENDING_SECONDS = 5.0
"""After which a process of a job, whose run is over, ends whatever its threads are at."""


def warning_seconds(time: float) -> float:
    """How long before its end a job of so many seconds is told of it: a twentieth, 90 s to 10 min."""
    return min(time / 2, max(90.0, min(600.0, time / 20)))


@dataclass(frozen=True)
class RunJob:
    """A run as a job: called in every process of it.

    Attributes:
        planned: the run.
        evaluations: asked of it.
        place: data, results and device.
        mailbox: where it says what happens.
        path: where to import from.
        data: names in the data folder, as the driver sees it; None if it is not there.
        time: seconds that the job may take.
        ranks: its processes, one for each GPU.
    """

    planned: PlannedRun
    evaluations: tuple[EvaluationSpec, ...]
    place: Place
    mailbox: Mailbox
    path: tuple[str, ...]
    data: tuple[str, ...] | None
    time: float
    ranks: int

    def __call__(self) -> None:
        """Carry the run out, and say so in the mailbox."""
        sys.path[:] = self.path
        rank, code = _join(self.ranks), 1
        try:
            _Process(self, rank == 0).work()
            code = 0
        finally:
            _end_soon(code)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit starts once the job is requeued: the same. What a run needs lies in its folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _join(ranks: int) -> int:
    """The rank of this process; of several, each gets the environment that torchrun would give it."""
    if ranks == 1:
        return 0
    from submitit.helpers import TorchDistributedEnvironment

    joined = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    rank: int = joined.rank
    return rank


def _end_soon(code: int) -> None:
    """See that this process ends: Python waits for threads, and a loss may have left some that do not."""
    timer = threading.Timer(ENDING_SECONDS, os._exit, (code,))
    timer.daemon = True
    timer.start()


class _Process:
    """A process of the job. The first speaks for all."""

    def __init__(self, job: RunJob, speaks: bool) -> None:
        self._job, self._speaks = job, speaks
        self._begun = time.monotonic()
        self._requeue = signal.getsignal(signal.SIGUSR2)
        self._told = False
        self._asked = 0
        self._stored = False
        self._looked, self._stop = -LOOK_SECONDS, False

    def work(self) -> None:
        """Carry the run out; whatever comes of it is said, but for a job that is killed."""
        if self._speaks:
            self._job.mailbox.open()
        self._say(Begun(platform.node(), os.getpid()))
        signal.signal(signal.SIGALRM, lambda number, frame: self._leave())
        signal.signal(signal.SIGUSR2, self._end_is_near)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        try:
            with shown(self._show, logged=True):
                ended = self._carry_out()
        except Exception as error:
            self._say(_last_words(error))
            raise
        finally:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
        if ended.result == "stopped" and self._told and not self._stop:
            self._leave()
        self._say(ended)

    def _carry_out(self) -> Ended:
        job = self._job
        if job.ranks == 1 and self._wanted():
            return Ended("stopped")
        self._see_data()
        self._see_device()
        if job.ranks == 1:
            return self._execute(job.place)
        from hugbench.execution.together import on_all_ranks

        return on_all_ranks(job.place.device.type, lambda ranks: self._execute(job.place.shared(ranks)))

    def _execute(self, place: Place) -> Ended:
        """On the first process, also where others take part; the outcome is for all."""
        from hugbench.execution.run import execute

        if self._wanted():
            return Ended("stopped")
        return Ended(execute(self._job.planned, self._job.evaluations, place, self._observe, self._pause))

    def _see_data(self) -> None:
        """Make sure that this is the data folder that the driver saw."""
        here, folder = names_in(self._job.place.data), self._job.place.data
        if missing := sorted(set(self._job.data or ()) - set(here or ())):
            raise UserError(
                f"is another folder on the machine {platform.node()}",
                where="--data",
                found=str(folder),
                expected=f"a folder on a file system that all nodes share, with {missing[0]}",
            )

    def _see_device(self) -> None:
        import torch

        if self._job.place.device.type == "cuda" and not torch.cuda.is_available():
            raise UserError(
                f"the job on {platform.node()} sees no GPU",
                where="--gpus-per-run",
                found=os.environ.get("CUDA_VISIBLE_DEVICES"),
                expected="a partition with GPUs, or --device cpu without --gpus-per-run",
            )

    def _observe(self, event: Event) -> None:
        self._stored = self._stored or isinstance(event, EpochDone | Evaluated)
        self._say(event)

    def _pause(self) -> bool:
        """Asked at every checkpoint, and once before evaluations; a second time means that more is stored."""
        self._asked += 1
        self._stored = self._stored or self._asked > 1
        return self._told or self._wanted()

    def _wanted(self) -> bool:
        """Whether the driver wants the run to stop."""
        now = time.monotonic()
        if not self._stop and now - self._looked >= LOOK_SECONDS:
            self._looked, self._stop = now, self._job.mailbox.stop.exists()
        return self._stop

    def _end_is_near(self, number: int, frame: FrameType | None) -> None:
        """Hear SIGUSR2: stop at the next checkpoint, or when there is no time left to wait for it.

        Of several processes the first decides when.
        """
        if not self._told and self._speaks:
            self._told = True
            left = warning_seconds(self._job.time)
            signal.setitimer(signal.ITIMER_REAL, left - min(LEAVE_SECONDS, left / 2))

    def _leave(self) -> None:
        """End this process, and have the job requeued where it got on or was cut short."""
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        full = 0.8 * (self._job.time - warning_seconds(self._job.time)) - 60
        if not self._stored and time.monotonic() - self._begun >= full:
            self._say(GaveUp("stored nothing in all of its time: --time is too short for an epoch"))
            sys.exit(1)
        run = self._job.planned.run
        self._say(
            Notice(f"{self._job.planned.label}, seed {run.seed}: its job is requeued, and goes on then")
        )
        try:
            assert callable(self._requeue)
            self._requeue(signal.SIGUSR2, None)
        except Exception:  # a cluster that requeues nothing: the driver submits it again
            self._say(Ended("stopped"))
        sys.exit(1)

    def _show(self, line: str) -> None:
        self._say(Printed(line))

    def _say(self, message: Message) -> None:
        if self._speaks:
            self._job.mailbox.say(message)


def _last_words(error: Exception) -> GaveUp | Trouble:
    """What an error is to the driver: this job's alone if its processes lost each other, else everyone's."""
    from hugbench.training.ranks import RankFailed

    if isinstance(error, RankFailed):
        return GaveUp(f"gave up: {error}")
    if isinstance(error, UserError):
        return Trouble(str(error), user=True)
    return Trouble(f"{type(error).__name__}: {error}", user=False)
