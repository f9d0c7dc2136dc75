"""The predictions of the batches that are finished, on disk, so that a stop costs one batch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hugbench.storage import write_atomic


class Kept:
    """A file of predictions that grows by whole batches.

    Args:
        folder: where it lies; None keeps nothing on disk. Files of anything else in it are removed.
        head: whose predictions, of what: JSON, equal for what may go on from the same file.
    """

    def __init__(self, folder: Path | None, head: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()[:10]
        self._path = None if folder is None else folder / f"{digest}.npz"
        if folder is not None:
            for path in folder.glob("*"):
                if path != self._path:
                    path.unlink()

    def load(self, conditions: int, images: int) -> Tensor:
        """The predictions that are kept of the first images, int32 (conditions, at most images).

        There are none where the file is missing, damaged or of other numbers.
        """
        none = torch.empty(conditions, 0, dtype=torch.int32)
        if self._path is None or not self._path.exists():
            return none
        try:
            with np.load(self._path, allow_pickle=False) as file:
                found = torch.from_numpy(file["predicted"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return none
        fits = found.ndim == 2 and found.dtype == torch.int32 and found.shape[0] == conditions
        return found if fits and found.shape[1] <= images else none

    def store(self, predicted: Tensor) -> None:
        """Keep the predictions so far, int32 (conditions, images) on the CPU."""
        if self._path is not None:
            stream = io.BytesIO()
            np.savez(stream, predicted=predicted.numpy())
            write_atomic(self._path, stream.getvalue())

    def drop(self) -> None:
        """Nothing is to be kept any more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
