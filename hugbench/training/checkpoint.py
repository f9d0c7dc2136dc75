"""Checkpoints: written atomically, verified by a checksum, read without running code.

A file is what `torch.save` writes, then a mark, then the sha256 of what stands before the mark.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from hugbench.errors import CorruptFile
from hugbench.storage import atomic

_MARK = b"hugbench checkpoint 1\n"
_TRAILER = len(_MARK) + hashlib.sha256().digest_size


@dataclass(frozen=True)
class Checkpoint:
    """What training needs to go on after an epoch.

    There is no generator state among it: every epoch seeds all its generators anew.

    Attributes:
        learner: state of model, optimiser, gradient scaler and moving average.
        history: the rows of `train.jsonl` so far, one per finished epoch.
    """

    learner: dict[str, Any]
    history: list[dict[str, Any]]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`; whatever goes wrong leaves the file that was there before.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    with atomic(path) as stream:
        sink = _Hashing(stream)
        try:
            torch.save(vars(checkpoint), cast(IO[bytes], sink))
        except RuntimeError:
            if sink.error is not None:
                raise sink.error from None
            raise
        stream.write(_MARK + sink.sha256.digest())


def load(path: Path) -> Checkpoint:
    """The checkpoint at `path`, with all tensors on the CPU.

    Raises:
        CorruptFile: it was cut short or altered, or is no checkpoint.
        FileNotFoundError: there is none.
    """
    content = path.read_bytes()
    payload, trailer = content[:-_TRAILER], content[-_TRAILER:]
    if not trailer.startswith(_MARK) or len(trailer) < _TRAILER:
        raise CorruptFile(path, "the checkpoint was cut short")
    if trailer != _MARK + hashlib.sha256(payload).digest():
        raise CorruptFile(path, "the checkpoint does not match its checksum")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CorruptFile(path, f"the checkpoint cannot be read: {error}") from error
    return Checkpoint(**state)


def read_epoch(path: Path) -> int:
    """How many epochs are finished, which is the number of the next one, counted from 0.

    Raises:
        CorruptFile: see `load`.
    """
    return len(load(path).history)


class _Hashing:
    """A sink that hashes what passes, and remembers the OSError that torch would hide."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """What `torch.save` ends with; the file itself is flushed when it is whole."""
