"""Files and folders that belong to a living process; what dead ones have left can be told from them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hugbench.storage import remove_dead

OWNER = ".owner"


@contextmanager
def claimed(path: Path, content: str) -> Iterator[None]:
    """Inside, a file with this content, locked; it is gone afterwards.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("w") as file:
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield
        finally:
            path.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str) -> None:
    """Remove the files of a folder, and those of its folders that have an `OWNER`, that dead processes left.

    Args:
        folder: where they lie.
        pattern: of their names.
    """
    for path in folder.glob(pattern):
        remove_dead(path, path / OWNER if path.is_dir() else path)
