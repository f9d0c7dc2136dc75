"""Where runs live on disk. A file counts once `status.json` names it with its checksum.

`results/runs/RUN_ID/` holds `run.yaml`, `environment.json`, `train.jsonl`, `model.safetensors`,
`resume.pt` (while training), `records/`, `predictions/` and `details/`; evaluations keep what they need
to be taken up again in `scratch/`, which does not count. `status.json` is written last and
atomically after each of them: a process killed at any moment leaves a run that is either done or
continues.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hugbench.errors import CorruptFile, UserError
from hugbench.storage import file_sha256, write_atomic
from hugbench.suite.moments import Moment

DAMAGED = "status.json was damaged"

State = Literal["pending", "training", "trained", "failed"]


@dataclass
class Status:
    """What is known to be on disk.

    Attributes:
        state: of the training.
        files: sha256 of every finished file, by its path within the run's folder.
        evaluations: keys of the finished evaluations.
        error: why the run failed.
        seconds: of training, summed over resumptions.
        notes: sentences of evaluations, by key.
        took: seconds of evaluations, by key, summed over resumptions.
        stamps: size in bytes and time of the last change (ns) of every finished file when it was sealed.
    """

    state: State = "pending"
    files: dict[str, str] = field(default_factory=dict)
    evaluations: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    notes: dict[str, list[str]] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    stamps: dict[str, list[int]] = field(default_factory=dict)

    def lacks(self, keys: list[str]) -> bool:
        """Whether anything of training or of these evaluations is missing."""
        return self.state != "trained" or not set(keys) <= set(self.evaluations)


class RunFolder:
    """The folder of one run."""

    def __init__(self, root: Path, run_id: str) -> None:
        self.run_id = run_id
        self.path = root / "runs" / run_id

    @property
    def checkpoint(self) -> Path:
        """What training goes on from."""
        return self.path / "resume.pt"

    @property
    def log(self) -> Path:
        """A line for each finished epoch."""
        return self.path / "train.jsonl"

    @property
    def model(self) -> Path:
        """The weights at the end of the training."""
        return self.path / "model.safetensors"

    @property
    def status_file(self) -> Path:
        """What is known to be on disk."""
        return self.path / "status.json"

    @property
    def _holder(self) -> Path:
        return self.path / ".holder"

    def snapshot(self, moment: Moment) -> Path:
        """Where the weights of a moment before the end lie."""
        return self.path / "snapshots" / f"{moment.name}.safetensors"

    def records_file(self, key: str) -> Path:
        """Where the records of an evaluation lie."""
        return self.path / "records" / f"{key}.jsonl"

    def predictions_file(self, key: str) -> Path:
        """Where the per-example predictions of an evaluation lie."""
        return self.path / "predictions" / f"{key}.parquet"

    def details_file(self, key: str) -> Path:
        """Where what an evaluation tells beside its numbers lies, if it tells anything."""
        return self.path / "details" / f"{key}.json"

    def scratch(self, moment: Moment | None) -> Path:
        """Where evaluations keep what they need between attempts, at a moment (None: the end)."""
        return self.path / "scratch" / ("end" if moment is None else moment.name)

    def status(self) -> Status:
        """The run's status; a run nobody began, or whose status is damaged, is pending."""
        try:
            return Status(**json.loads(self.status_file.read_text()))
        except FileNotFoundError:
            return Status()
        except (ValueError, TypeError):
            return Status(error=DAMAGED)

    def write_status(self, status: Status) -> None:
        """Store the status: the last step of everything."""
        write_atomic(self.status_file, (json.dumps(asdict(status), indent=1) + "\n").encode())

    def sealed(self, status: Status, *paths: Path) -> None:
        """Note the checksums of finished files in `status`, and their stamps."""
        for path in paths:
            name = path.relative_to(self.path).as_posix()
            status.files[name], status.stamps[name] = file_sha256(path), _stamp(path)

    def damaged(self, status: Status, path: Path) -> str | None:
        """What is wrong with a finished file, or None."""
        name = path.relative_to(self.path).as_posix()
        if not path.exists():
            return f"{name} is missing"
        return None if file_sha256(path) == status.files.get(name) else f"{name} does not match its checksum"

    def damaged_evaluation(self, status: Status, key: str, *, thorough: bool = True) -> str | None:
        """What is wrong with the files of a finished evaluation, the first thing, or None.

        Args:
            status: of the run.
            key: of the evaluation.
            thorough: read every file; otherwise the records, and of the others only those whose size or
                time of change is not what it was when they were sealed.
        """
        others = [self.predictions_file(key), self.details_file(key)]
        if self._name(others[1]) not in status.files:
            del others[1]
        files = [file for file in others if thorough or not self._untouched(status, file)]
        files.insert(0, self.records_file(key))
        return next((reason for file in files if (reason := self.damaged(status, file))), None)

    def _name(self, path: Path) -> str:
        """What the status calls a file of the run."""
        return str(path)[len(str(self.path)) + 1 :]

    def _untouched(self, status: Status, path: Path) -> bool:
        """Whether a finished file has its size and its time of change still."""
        try:
            return _stamp(path) == status.stamps.get(self._name(path))
        except OSError:
            return False

    def records(self, status: Status, key: str) -> list[dict[str, Any]]:
        """The records of a finished evaluation.

        Raises:
            CorruptFile: they are missing or do not match their checksum.
        """
        path = self.records_file(key)
        if reason := self.damaged(status, path):
            raise CorruptFile(path, reason)
        found: list[dict[str, Any]] = json.loads(f"[{','.join(path.read_text().splitlines())}]")
        return found

    def details(self, status: Status, key: str) -> dict[str, Any]:
        """What a finished evaluation tells beside its numbers; empty where it tells nothing.

        Raises:
            CorruptFile: it is missing or does not match its checksum.
        """
        path = self.details_file(key)
        if path.relative_to(self.path).as_posix() not in status.files:
            return {}
        if reason := self.damaged(status, path):
            raise CorruptFile(path, reason)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Whether this process may work on the run. The lock ends with the process, however it ends."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            self._holder.write_text(f"process {os.getpid()} on {platform.node()}\n")
            yield True
        finally:
            self._holder.unlink(missing_ok=True)
            lock.release()

    def worker(self) -> str | None:
        """Who works on the run at this moment, as `process 7 on a-host`; None if nobody does."""
        return self.holder() if self._holder.exists() and _held(self.path / ".lock") else None

    def holder(self) -> str:
        """Who works on the run, as far as is known."""
        try:
            return self._holder.read_text().strip() or "another process"
        except OSError:
            return "another process"


def _held(path: Path) -> bool:
    """Whether a process has the lock of this file. A shared lock asks, and is given back at once."""
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def writable(root: Path) -> None:
    """Make sure that results can be written under `root`, leaving nothing behind.

    Raises:
        UserError: they cannot.
    """
    probe = root
    while not probe.exists() and probe != probe.parent:
        probe = probe.parent
    if not probe.is_dir():
        raise UserError(
            "is no folder", where="--results", found=str(probe), expected="a folder that can be written"
        )
    test = probe / f".hugbench-write-test-{id(root)}"
    try:
        test.touch(exist_ok=False)
        test.unlink()
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror})",
            where="--results",
            found=str(root),
            expected="a folder that can be written",
        ) from None
