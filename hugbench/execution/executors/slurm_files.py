"""What the driver and its jobs tell each other: files on the file system that they share.

`RESULTS/slurm/` holds a folder for each driver that has submitted jobs:

    .lock                     held while a driver looks up what is queued, and submits
    20261126-0402-login1-77/  a driver's, by the time, machine and process of its start
        .lock                 held while that driver lives
        jobs.json             the cluster, and the id of the job of every attempt at a run
        messages/ATTEMPT      what a job says: a message a line, behind its checksum
        stop/ATTEMPT          there once the job is to stop at its next checkpoint
        submitit/             submitit's scripts, pickles and logs

An attempt is `RUN_ID.N`. A folder goes once its driver is gone and none of its jobs is left.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock, Timeout

from hugbench.execution.events import Event
from hugbench.execution.executors.messages import Ended
from hugbench.storage import write_atomic


@dataclass(frozen=True)
class Begun:
    """A job has come to its run."""

    host: str
    process: int


@dataclass(frozen=True)
class GaveUp:
    """A job ends without a result, and why."""

    how: str


@dataclass(frozen=True)
class Trouble:
    """An error that concerns every run; `user`: it is one of input, and its text says all."""

    text: str
    user: bool


Message = Event | Begun | Ended | GaveUp | Trouble
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """A message as a line."""
    text = json.dumps({"kind": type(message).__name__, **asdict(message)}).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Message | None:
    """The message of a line; None for one that was cut short or damaged, or that only others understand."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        fields = json.loads(text)
        kind = _KINDS[fields.pop("kind")]
        message: Message = kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return message


@dataclass(frozen=True)
class Mailbox:
    """The files of one attempt at a run."""

    messages: Path
    stop: Path

    def open(self) -> None:
        """Begin to write: what an attempt that was killed had half written is closed with a line's end."""
        self.messages.parent.mkdir(parents=True, exist_ok=True)
        self._append(b"\n")

    def say(self, message: Message) -> None:
        """Append a message. The file is opened and closed for it: on NFS that makes it seen elsewhere."""
        self._append(encode(message))

    def _append(self, line: bytes) -> None:
        handle = os.open(self.messages, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            while line:
                line = line[os.write(handle, line) :]
        finally:
            os.close(handle)


class Inbox:
    """Reads the messages of an attempt as they come."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._path, self._offset = mailbox.messages, 0

    def read(self) -> list[Message]:
        """What is new and whole; what cannot be read is passed over."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                whole = stream.read().rpartition(b"\n")[0]
        except OSError:
            return []
        if not whole:
            return []
        self._offset += len(whole) + 1
        found = [decode(line) for line in whole.split(b"\n")]
        return [message for message in found if message is not None]


@dataclass
class Submitted:
    """The jobs of one driver.

    Attributes:
        path: its folder.
        cluster: where they went.
        jobs: ids of the jobs, by attempt.
    """

    path: Path
    cluster: str
    jobs: dict[str, str] = field(default_factory=dict)

    def mailbox(self, attempt: str) -> Mailbox:
        """The files of an attempt."""
        return Mailbox(self.path / "messages" / attempt, self.path / "stop" / attempt)

    def note(self, jobs: dict[str, str]) -> None:
        """Write down jobs that were submitted."""
        self.jobs.update(jobs)
        told = {"cluster": self.cluster, "jobs": self.jobs}
        write_atomic(self.path / "jobs.json", json.dumps(told, indent=1).encode())


class Ledger:
    """All jobs of all drivers on a results folder.

    Args:
        results: the results folder.
        cluster: the name of the cluster; jobs elsewhere are left alone.
    """

    def __init__(self, results: Path, cluster: str) -> None:
        self._root, self._cluster = results / "slurm", cluster
        self._root.mkdir(parents=True, exist_ok=True)
        name = f"{datetime.now():%Y%m%d-%H%M%S-%f}-{platform.node()}-{os.getpid()}"
        self.own = Submitted(self._root / name, cluster)
        self._mine = FileLock(self.own.path / ".lock")
        with self.alone():
            (self.own.path / "stop").mkdir(parents=True)
            self._mine.acquire()
            self.own.note({})

    def close(self) -> None:
        """The driver ends."""
        self._mine.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other driver looks up jobs or submits any."""
        with FileLock(self._root / ".lock"):
            yield

    def others(self) -> list[Submitted]:
        """What other drivers have submitted to this cluster, the newest last."""
        paths = sorted(path for path in self._root.iterdir() if path.is_dir() and path != self.own.path)
        found = [read(path, self._cluster) for path in paths]
        return [submitted for submitted in found if submitted.cluster == self._cluster]

    def discard(self, submitted: Submitted) -> None:
        """Remove the folder of a driver whose jobs are over, unless that driver lives."""
        lock = FileLock(submitted.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return
        lock.release()
        shutil.rmtree(submitted.path, ignore_errors=True)


def read(path: Path, cluster: str) -> Submitted:
    """What a driver has submitted.

    A record that is missing or damaged costs the names of the attempts, not the jobs: their ids stand in
    the names of submitit's files, so that no folder is taken from under jobs that live.

    Args:
        path: the driver's folder.
        cluster: where its jobs went, if the record does not say.
    """
    try:
        told = json.loads((path / "jobs.json").read_text())
        jobs = {str(attempt): str(job) for attempt, job in told["jobs"].items()}
        return Submitted(path, str(told["cluster"]), jobs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pickles = (path / "submitit").glob("*_submitted.pkl")
        ids = [pickle.name.removesuffix("_submitted.pkl") for pickle in pickles]
        return Submitted(path, cluster, {f"unknown.{job}": job for job in ids})
