"""The processes of a suite: started, found by a mark in their environment, and what each is at."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
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
    """

    process: subprocess.Popen[bytes]
    output: Path
    signals: list[int] = field(default_factory=list)

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


@dataclass(frozen=True)
class Work:
    """What a process is at: `phase` in words, `age` in seconds."""

    pid: int
    phase: str
    age: float


def look(pid: int, results: Path) -> Work:
    """What a process is at, by the files of the run that it holds."""
    run = next((path.parent for path, holder in held(results) if holder == pid), None)
    age = time.monotonic() - _born(pid)
    if run is None:
        return Work(pid, "worker start" if age < 5 else "between runs", age)
    if any(name.startswith(".resume.pt.") for name in os.listdir(run)):
        return Work(pid, "checkpoint writing", age)
    state = RunFolder(results, run.name).status().state
    phase = {"training": "training", "trained": "evaluation"}.get(state, "run start")
    return Work(pid, phase, age)


def held(results: Path) -> Iterator[tuple[Path, int]]:
    """Every note of who holds a run, and the process that it names."""
    for path in results.glob("runs/*/.holder"):
        with suppress(OSError):
            if found := re.match(r"process (\d+) on ", path.read_text()):
                yield path, int(found[1])


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _state(entry: Path) -> str:
    return (entry / "stat").read_text().rpartition(") ")[2][:1]


def _born(pid: int) -> float:
    """When a process began, by the monotonic clock; now where it is gone."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])
    except OSError:
        return time.monotonic()
    return ticks / os.sysconf("SC_CLK_TCK")
