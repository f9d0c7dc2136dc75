"""A worker of the local pool that speaks as one does but carries out nothing, and fails as it is told.

    python standin.py [whatever the driver passes] DESCRIPTOR

The environment variable STANDIN is what it does with a run of seed 0, STANDIN_START how it begins.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path


def main() -> None:
    driver = Connection(int(sys.argv[-1]))
    begin(os.environ.get("STANDIN_START", ""))
    sys.path[:] = driver.recv()
    driver.recv_bytes()
    from hugbench.errors import UserError
    from hugbench.execution.events import RunDone, RunStarted
    from hugbench.execution.executors.messages import Ended, Raised, Ready, Stop

    driver.send(Ready())
    while True:
        try:
            message = driver.recv()
        except EOFError:
            return
        if isinstance(message, Stop):
            continue
        run, label = message.run, message.label
        driver.send(RunStarted(run.run_id, label, run.seed, os.getpid()))
        what = os.environ.get("STANDIN", "") if run.seed == 0 else ""
        if what == "full disk":
            driver.send(Raised(UserError("results cannot be written", where="there", expected="room")))
        elif what == "until stopped":
            assert isinstance(driver.recv(), Stop)
            driver.send(Ended("stopped"))
        elif what == "wait":
            driver.poll(None)
        else:
            do(what)
            driver.send(RunDone(run.run_id, label, run.seed, 0.0))
            driver.send(Ended("done"))


def begin(how: str) -> None:
    if how == "error":
        sys.exit("ImportError: no such library")
    if how == "stuck":
        time.sleep(600)
    if how.startswith("once "):
        path = Path(how.removeprefix("once "))
        if not path.exists():
            path.touch()
            sys.exit("not yet")


def do(what: str) -> None:
    if what == "print":
        os.write(1, b"plain\n\x1b[31mred\x1b[0m\x1b[2A\r 10%\r 20%\nno end \xff")
    elif what == "killed":
        os.kill(os.getpid(), 9)
    elif what == "killed, not its child":
        if os.fork() == 0:  # it inherits the connection, as a loader's processes do
            time.sleep(600)
        os.kill(os.getpid(), 9)
    elif what == "half a message":
        os.write(int(sys.argv[-1]), b"\x00\x00\x10\x00" + pickle.dumps("not all of it"))
        os._exit(3)
    else:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
