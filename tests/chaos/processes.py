"""The processes of a suite: started, found by a mark in their environment, and what each is at."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hugbench.results.store import RunFolder
from tests.e2e.conftest import ROOT, command

MARK = "HUGBENCH_CHAOS_MARK"
SITE = Path(__file__).parent / "site"


@dataclass
class Driver:
    """A `hugbench run`.

    Attributes:
        process: its process.
        output: the file that it and its workers write to.
        signals: those that we have sent it.
        false_starts: how many of its workers in a row were killed before they took up a run.
    """

    process: subprocess.Popen[bytes]
    output: Path
    signals: list[int] = field(default_factory=list)
    false_starts: int = 0

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, number: int) -> None:
        """A signal, noted where it may end the process."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.signals.append(number)


def start(arguments: Sequence[str | Path], output: Path, mark: str, clock: Path | None = None) -> Driver:
    """Start `hugbench ARGUMENTS`, in a session of its own."""
    path = [str(ROOT), *([] if clock is None else [str(SITE)])]
    wrong = {} if clock is None else {"HUGBENCH_CHAOS_CLOCK": str(clock)}
    environment = {**os.environ, **wrong, MARK: mark, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "100"}
    environment.pop("HUGBENCH_EXECUTOR", None)
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command(*arguments), stdout=stream, stderr=stream, env=environment, start_new_session=True
        )
    return Driver(process, output)


def marked(mark: str) -> list[int]:
    """Every living process with a mark in its environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and _state(entry) not in "ZX":
                    found.append(int(entry.name))
    return found


def workers(driver: Driver) -> list[int]:
    """The workers of a driver, itself not among them."""
    found = []
    for task in Path(f"/proc/{driver.process.pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(pid) for pid in task.read_text().split()]
    return [pid for pid in found if b"worker" in _command_line(pid)]


class Watch:
    """What workers are at, by the files of the runs that they hold.

    Args:
        results: the results folder.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self._began: set[int] = set()

    def phase(self, pid: int) -> str:
        """What a worker is at now, in words."""
        holders = dict(held(self._results))
        self._began.update(holders)
        run = holders.get(pid)
        if run is None:
            return "between runs" if pid in self._began else "worker start"
        if any(name.startswith(".resume.pt.") for name in os.listdir(run)):
            return "checkpoint writing"
        state = RunFolder(self._results, run.name).status().state
        return {"training": "training", "trained": "evaluation"}.get(state, "run start")


def held(results: Path) -> Iterator[tuple[int, Path]]:
    """Every process that holds a run, by its note there, and the folder of the run."""
    for path in results.glob("runs/*/.holder"):
        with suppress(OSError):
            if found := re.match(r"process (\d+) on ", path.read_text()):
                yield int(found[1]), path.parent


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _state(entry: Path) -> str:
    return (entry / "stat").read_text().rpartition(") ")[2][:1]
