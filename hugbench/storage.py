"""Files that are either whole or not there: atomic writes and checksums. No torch."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_UMASK = os.umask(0o022)
os.umask(_UMASK)

SUFFIX = ".tmp"
"""Of temporary files, whose names begin with a dot."""

PROBE = "hugbench-write-test"

_BROKEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}
"""What only a disk says; errors of an open file tell no name."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends, and leaves nothing if it raises.

    Temporary file in the same folder, flush, fsync, replace, fsync of the folder. What a killed process
    leaves of it, `sweep` removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            os.chmod(temporary, 0o666 & ~_UMASK)
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def probe(folder: Path) -> None:
    """Make a file in a folder and remove it.

    Raises:
        OSError: that cannot be done.
    """
    for left in folder.glob(f".{PROBE}.*{SUFFIX}"):
        remove_dead(left)
    handle, path = _temporary(folder / PROBE)
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed processes in a folder and those below it.

    A writer holds a lock on its file for as long as it lives, so that no living one loses anything. What
    cannot be removed stays.
    """
    for path in temporaries(folder):
        remove_dead(path)


def temporaries(folder: Path) -> Iterator[Path]:
    """The temporary files in a folder and those below it, of the living and of the dead."""
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names if name.startswith(".") and name.endswith(SUFFIX))


def write_atomic(path: Path, data: bytes | bytearray | memoryview) -> str:
    """Write `data` to `path` atomically; returns its sha256 as hex."""
    with atomic(path) as stream:
        stream.write(data)
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file's content as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_of_disk(error: BaseException, root: Path) -> bool:
    """Whether an error tells that files under `root` cannot be read or written, whatever the reason."""
    if not isinstance(error, OSError):
        return False
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)]
    if not names:
        return error.errno in _BROKEN
    return any(Path(os.path.abspath(name)).is_relative_to(os.path.abspath(root)) for name in names)


def remove_dead(path: Path, lock: Path | None = None) -> None:
    """Remove a file or a folder if who made it is gone: then a lock, by default on itself, can be taken."""
    with contextlib.suppress(OSError), (lock or path).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, locked while it is open.

    A sweeper may come between its birth and its lock: then there is another one.
    """
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        except OSError:  # a file system without locks, where nobody sweeps
            return handle, Path(name)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)
