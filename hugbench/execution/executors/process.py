"""The driver's end of a worker: starts it, talks to it, hears what it says and prints, ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from typing import TYPE_CHECKING

from hugbench.errors import HugbenchError
from hugbench.execution.executors.messages import FromWorker, Setup, ToWorker
from hugbench.execution.executors.printing import LONGEST_LINE, plain
from hugbench.execution.executors.seats import Seat

if TYPE_CHECKING:
    from hugbench.suite.plan import PlannedRun

START_SECONDS = 600.0
"""Seconds after which a worker that is not ready is stuck, for one on a file system that hangs."""


class Worker:
    """A process with a seat, and the run that it is at.

    It is the head of a process group: Ctrl-C in a terminal is for the driver alone, and with the worker
    all processes end that it has started.

    Attributes:
        seat: what it has of the machine.
        planned: the run that it is at, or None.
        ready: whether it has imported what it needs.
        stopping: whether it was told to stop.
        connection: messages.
        output: descriptor of what it and whatever it calls print; None once that has ended.
        last_words: the last line that it has printed, if it has.

    Raises:
        HugbenchError: no process can be started.
    """

    def __init__(self, seat: Seat, setup: Setup) -> None:
        self.seat, self.ready, self.stopping = seat, False, False
        self.planned: PlannedRun | None = None
        self.connection, theirs = Pipe()
        self._begun, self._rest = time.monotonic(), b""
        self.last_words: list[str] = []
        visible = {} if seat.gpu is None else {"CUDA_VISIBLE_DEVICES": seat.gpu}
        try:
            self._process = subprocess.Popen(
                # -P: the current folder is imported from only where the driver does
                [sys.executable, "-P", "-m", "hugbench.execution.executors.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno(), *setup.unnamed.values()],
                env={**os.environ, **visible, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                process_group=0,
            )
        except OSError as error:
            raise HugbenchError(f"no worker process can be started ({error.strerror})") from error
        finally:
            theirs.close()
        assert self._process.stdout is not None
        self.output: int | None = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        self.send(tuple(sys.path))
        self.send(setup)

    @property
    def ends(self) -> list[object]:
        """What to wait for."""
        return [self.connection] if self.output is None else [self.connection, self.output]

    def send(self, message: ToWorker | Setup | tuple[str, ...]) -> bool:
        """Say something; False if it is gone."""
        try:
            self.connection.send(message)
        except OSError:
            return False
        return True

    def recv(self) -> FromWorker:
        """What it says next.

        Raises:
            EOFError, OSError: it is gone.
        """
        message: FromWorker = self.connection.recv()
        return message

    def printed(self) -> list[str]:
        """The lines that it has printed since, without what would move a terminal's cursor."""
        data = b""
        while self.output is not None:
            try:
                data += (part := os.read(self.output, 1 << 16))
            except BlockingIOError:
                break
            if not part:
                self.output = None
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self.output is None or len(self._rest) > LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        texts = [text for line in lines if (text := plain(line.decode(errors="replace")))]
        self.last_words = [*self.last_words, *texts][-1:]
        return texts

    def gone(self) -> bool:
        """Whether the process has ended, and nothing that it said is left to be heard.

        Its children may hold its end of the connection open: the end of that is not waited for.
        """
        return self._process.poll() is not None and not self.connection.poll()

    def stuck(self) -> bool:
        """Whether it has not become ready in time."""
        return not self.ready and time.monotonic() - self._begun > START_SECONDS

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self, patience: float = 0.0) -> str:
        """Make sure that it is gone, after some seconds if need be by force; how it ended, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self.kill()
        code = self._process.wait()
        self.connection.close()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
