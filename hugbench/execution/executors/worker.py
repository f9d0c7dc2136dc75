"""A process of the local pool: `python -m hugbench.execution.executors.worker DESCRIPTOR`.

A fresh interpreter, not a fork: no thread, lock or GPU context of the driver's comes along, and the
driver's main module is not run again. It ends with the driver, however that ends: the pipe closes.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue

from hugbench.execution.events import Event, Printed
from hugbench.execution.executors.messages import Ended, FromWorker, Raised, Ready, Setup, Stop
from hugbench.suite.plan import PlannedRun


def main() -> None:
    """Carry out runs until the driver hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = _Driver(Connection(int(sys.argv[1])))
    setup = driver.setup()
    sys.path[:] = setup.path
    sys.stdout = sys.stderr = _Lines(driver.say)
    from hugbench.data import machine
    from hugbench.execution.run import execute

    machine.share(setup.cpus)
    driver.listen()
    driver.say(Ready())
    while True:
        planned = driver.runs.get()
        try:
            driver.say(
                Ended(execute(planned, setup.evaluations, setup.place, driver.say, driver.stop.is_set))
            )
        except Exception as error:
            driver.say(Raised(_portable(error)))


class _Driver:
    """The other end of the pipe.

    Attributes:
        runs: what it has sent to be carried out.
        stop: set once it wants an end at the next checkpoint.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._speaking = threading.Lock()
        self.runs: SimpleQueue[PlannedRun] = SimpleQueue()
        self.stop = threading.Event()

    def setup(self) -> Setup:
        """The first message."""
        try:
            setup: Setup = self._connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        return setup

    def listen(self) -> None:
        """From now on hear what the driver says."""
        threading.Thread(target=self._hear, daemon=True).start()

    def say(self, message: FromWorker | Event) -> None:
        """Tell the driver; without one there is nothing left to do."""
        try:
            with self._speaking:
                self._connection.send(message)
        except OSError:
            os._exit(1)

    def _hear(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, Stop):
                self.stop.set()
            else:
                self.runs.put(message)


class _Lines(io.TextIOBase):
    """Standard output and error of a worker: whole lines, for the driver to show."""

    def __init__(self, say: Callable[[Printed], None]) -> None:
        self._say, self._rest = say, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._say(Printed(line))
        return len(text)


def _portable(error: Exception) -> Exception:
    """The error, or its text where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main()
