"""The disk that results lie on: it can be filled up and closed, by the best means that this machine offers."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

SIZE = 160 << 20
"""Bytes of the small disk."""


class Ground:
    """A folder for results.

    Filling: a small tmpfs, where one can be mounted; else a limit of the kernel on the size of the files that
    processes write (RLIMIT_FSIZE), which can be set while they run. Closing: the immutable flag (chattr +i), which
    holds against root as well; else the modes of folders, which hold against others.

    Args:
        folder: where; made here.

    Attributes:
        filling, closing: what is used, in words.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._mounted = _quietly("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", str(folder))
        self.filling = f"tmpfs of {SIZE >> 20} MiB" if self._mounted else "RLIMIT_FSIZE"
        self._flag = _quietly("chattr", "+i", str(folder)) and _quietly("chattr", "-i", str(folder))
        if not self._flag and os.geteuid() == 0:
            self.closing = "nothing: root without the immutable flag"
        else:
            self.closing = "chattr +i" if self._flag else "modes of folders"
        self.results = folder / "results"
        self.results.mkdir()
        self._filler = folder / "filler"
        self.full = self.closed = False

    def fill(self, processes: Iterable[int]) -> None:
        """No room from now on, for `processes` (and those that they start) at least."""
        self.full = True
        if not self._mounted:
            _limit(processes, 4096)
            return
        with self._filler.open("wb", buffering=0) as stream:
            try:
                while stream.write(b"\0" * (1 << 20)):
                    pass
            except OSError:
                pass

    def make_room(self, processes: Iterable[int]) -> None:
        """The reverse of `fill`."""
        self.full = False
        self._filler.unlink(missing_ok=True)
        if not self._mounted:
            _limit(processes, resource.RLIM_INFINITY)

    def close(self) -> bool:
        """Nothing can be written from now on; whether that can be had."""
        if self.closing.startswith("nothing"):
            return False
        self.closed = True
        if self._flag:
            _quietly("chattr", "-R", "+i", str(self.results))
        else:
            self._modes(0o555)
        return True

    def open(self) -> None:
        """The reverse of `close`."""
        if self.closed and self._flag:
            _quietly("chattr", "-R", "-i", str(self.results))
        elif self.closed:
            self._modes(0o755)
        self.closed = False

    def leave(self) -> None:
        """Keep what lies there, give back what was mounted."""
        self.open()
        if self._mounted:
            kept = self.folder.with_name(f"{self.folder.name}-kept")
            shutil.copytree(self.folder, kept)
            _quietly("umount", "-l", str(self.folder))
            self.folder.rmdir()
            kept.rename(self.folder)

    def _modes(self, mode: int) -> None:
        for where, _, _ in os.walk(self.results):
            os.chmod(where, mode)


def _limit(processes: Iterable[int], size: int) -> None:
    """Processes write no file beyond `size` bytes."""
    for pid in processes:
        try:
            hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
        except ProcessLookupError:
            continue


def _quietly(*command: str) -> bool:
    """Whether a command succeeds; it may not exist."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
