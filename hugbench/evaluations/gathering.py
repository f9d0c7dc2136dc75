"""Features of very many images, row by row: in memory, or in a file that takes no memory."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from hugbench.data.machine import available_memory

SHARE = 4
"""Features that take more than the available memory over this go to a file."""


class Gathering:
    """N rows of float32, added in order and then read as one tensor.

    The file is removed when it is made and lives until the tensor is let go of, also if the process is
    killed. It is written, not mapped, so that a full disk is an error and no crash.

    Args:
        count: N.
        folder: where the file would be; it is made if need be. None: where the system keeps such files.
    """

    def __init__(self, count: int, folder: Path | None) -> None:
        self.count, self.folder = count, folder
        self._rows: Tensor | None = None
        self._file: IO[bytes] | None = None
        self._width = self._filled = 0

    def add(self, rows: Tensor) -> None:
        """The next rows, float32 (B, d), on the CPU.

        Raises:
            OSError: the disk is full.
        """
        if not self._filled:
            self._open(rows.shape[1])
        if self._file is not None:
            self._file.write(rows.contiguous().numpy().data)
        elif self._rows is not None:
            self._rows[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def tensor(self) -> Tensor:
        """All rows, (N, d); to be read only.

        Raises:
            ValueError: there are not N of them yet.
        """
        if self._filled != self.count:
            raise ValueError(f"rows: expected {self.count}, found {self._filled}")
        if self._file is not None:
            with self._file:
                self._file.flush()
                content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._rows = torch.frombuffer(content, dtype=torch.float32).view(self.count, self._width)
            self._file = None
        assert self._rows is not None
        return self._rows

    def _open(self, width: int) -> None:
        self._width = width
        if 4 * self.count * width <= available_memory() // SHARE:
            self._rows = torch.empty(self.count, width)
            return
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  it outlives this
