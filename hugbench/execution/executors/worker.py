"""A process of the local pool: `python -P -m hugbench.execution.executors.worker DESCRIPTOR`.

A fresh interpreter, not a fork: no thread, lock or GPU context of the driver's comes along, and the
driver's main module is not run again. It ends with the driver, however that ends: the pipe closes.
What it prints, from Python or from C, goes through its descriptors 1 and 2 to the driver.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import pickle
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import NoReturn

from hugbench.errors import HugbenchError
from hugbench.execution.events import Event
from hugbench.execution.executors.messages import Ended, FromWorker, Raised, Ready, Setup, Stop
from hugbench.suite.plan import PlannedRun


def main() -> None:
    """Carry out runs until the driver hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver hears them, and says what to do
        signal.signal(number, signal.SIG_IGN)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    driver = _Driver(Connection(int(sys.argv[1])))
    sys.path[:], pickled = driver.beginning()
    driver.listen()
    setup: Setup = pickle.loads(pickled)  # imports torch
    from hugbench.data import cache, machine
    from hugbench.execution.run import execute

    machine.share(setup.cpus)
    cache.inherit(setup.unnamed)
    driver.say(Ready())
    while True:
        planned = driver.runs.get()
        try:
            result = execute(planned, setup.evaluations, setup.place, driver.say, driver.stop.is_set)
        except Exception as error:
            driver.say(Raised(_portable(error)))
            continue
        ctypes.CDLL(None).fflush(None)
        driver.say(Ended(result))


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

    def beginning(self) -> tuple[tuple[str, ...], bytes]:
        """The first messages: where to import from, and a pickled `Setup`."""
        try:
            return self._connection.recv(), self._connection.recv_bytes()
        except (EOFError, OSError):
            _end()

    def listen(self) -> None:
        """From now on hear what the driver says."""
        threading.Thread(target=self._hear, daemon=True).start()

    def say(self, message: FromWorker | Event) -> None:
        """Tell the driver; without one there is nothing left to do."""
        try:
            with self._speaking:
                self._connection.send(message)
        except OSError:
            _end()

    def _hear(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                _end()
            if isinstance(message, Stop):
                self.stop.set()
            else:
                self.runs.put(message)


def _end() -> NoReturn:
    """End at once, and all processes that this one has started: they hold its files and locks, too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error with its traceback, or its text where the driver may have no such class."""
    told = error
    if type(error).__module__ not in ("builtins", "hugbench.errors") or not _survives(error):
        told = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(told, HugbenchError):
        told.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    return told


def _survives(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
