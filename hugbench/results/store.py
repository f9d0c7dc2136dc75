"""Where runs live on disk. A file counts once `status.json` names it with its checksum.

`results/runs/RUN_ID/` holds `run.yaml`, `environment.json`, `train.jsonl`, `model.safetensors`,
`resume.pt` (while training), `records/`, `predictions/` and `details/`; evaluations keep what they need
to be taken up again in `scratch/`, which does not count. `status.json` is written last and
atomically after each of them: a process killed at any moment leaves a run that is either done or
continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hugbench.errors import CorruptFile, UserError
from hugbench.results.status import DAMAGED, Status
from hugbench.storage import atomic, file_sha256, is_of_disk, probe, sweep, temporaries, write_atomic
from hugbench.suite.moments import Moment

__all__ = ["DAMAGED", "RunFolder", "Status", "keeping", "writable"]


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

    @property
    def specification(self) -> Path:
        """What the run is, for readers; nothing that computes reads it."""
        return self.path / "run.yaml"

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
        """The run's status; a run nobody began, or whose status is damaged, is pending.

        Raises:
            UserError: there is a file, and it cannot be read.
        """
        try:
            return Status.read(self.status_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return Status()
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})", where=self.status_file) from error

    def write_status(self, status: Status) -> None:
        """Store the status: the last step of everything."""
        write_atomic(self.status_file, status.written())

    def store(self, status: Status, path: Path, data: bytes) -> None:
        """Write a file, and note in `status` the checksum of what was to be written, and its stamp."""
        with atomic(path) as stream:
            stream.write(data)
            stream.flush()
            stamp = _stamp(os.fstat(stream.fileno()))
        name = self._name(path)
        status.files[name], status.stamps[name] = hashlib.sha256(data).hexdigest(), stamp

    def sealed(self, status: Status, *paths: Path) -> None:
        """Note the checksums of finished files, as they lie there, in `status`, and their stamps."""
        for path in paths:
            name = self._name(path)
            status.files[name], status.stamps[name] = file_sha256(path), _stamp(path.stat())

    def damaged(self, status: Status, path: Path) -> str | None:
        """What is wrong with a finished file, or None."""
        name = path.relative_to(self.path).as_posix()
        try:
            intact = file_sha256(path) == status.files.get(name)
        except (FileNotFoundError, NotADirectoryError):
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        return None if intact else f"{name} does not match its checksum"

    def damaged_specification(self, status: Status) -> str | None:
        """What is wrong with `run.yaml`, or None; earlier versions noted no checksum of it."""
        if self.specification.name in status.files:
            untouched = self._untouched(status, self.specification)
            return None if untouched else self.damaged(status, self.specification)
        return None if self.specification.exists() else f"{self.specification.name} is missing"

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
            return _stamp(path.stat()) == status.stamps.get(self._name(path))
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

    def disown(self, status: Status) -> None:
        """Have the run trained and evaluated again, as its weights are damaged. For whoever has the lock."""
        status.state, status.evaluations, status.took = "pending", [], {}
        self.write_status(status)

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
            with contextlib.suppress(OSError):  # it is for the reader only
                self._holder.write_text(f"process {os.getpid()} on {platform.node()}\n")
            yield True
        finally:
            with contextlib.suppress(OSError):
                self._holder.unlink(missing_ok=True)
            lock.release()

    def worker(self) -> str | None:
        """Who works on the run at this moment, as `process 7 on a-host`; None if nobody does."""
        return self.holder() if self._holder.exists() and _held(self.path / ".lock") else None

    def holder(self) -> str:
        """Who works on the run, as far as is known."""
        try:
            return self._holder.read_text().strip() or "another process"
        except (OSError, ValueError):
            return "another process"

    def littered(self, status: Status) -> bool:
        """Whether there may be something that `tidy` removes."""
        leftover = status.state == "trained" and self.checkpoint.exists()
        return leftover or self._holder.exists() or any(temporaries(self.path))

    def tidy(self, status: Status) -> None:
        """Remove what killed processes have left of their work. For whoever has the lock."""
        sweep(self.path)
        if status.state == "trained":
            self.checkpoint.unlink(missing_ok=True)


@contextmanager
def keeping(root: Path) -> Iterator[None]:
    """Inside, a disk that does not read or write what lies under `root` is bad input, and says so.

    Raises:
        UserError: it is full, cannot be written, is gone, ...
    """
    try:
        yield
    except OSError as error:
        if not is_of_disk(error, root):
            raise
        raise UserError(
            f"results cannot be written ({error.strerror or error})",
            where=error.filename if isinstance(error.filename, str) else root,
            expected="room on the disk and the right to write; what is finished is kept, "
            "and the same command goes on from there",
        ) from error


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


def _stamp(state: os.stat_result) -> list[int]:
    return [state.st_size, state.st_mtime_ns]


def writable(root: Path) -> None:
    """Make sure that results can be written under `root`, leaving nothing behind, nor what others left.

    Raises:
        UserError: they cannot.
    """
    there = root
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(
            "is no folder", where="--results", found=str(there), expected="a folder that can be written"
        )
    try:
        probe(there)
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror})",
            where="--results",
            found=str(root),
            expected="a folder that can be written",
        ) from None
