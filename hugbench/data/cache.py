"""Decoded data sets, kept beside their files: `ROOT/.hugbench/NAME.safetensors`, memory-mapped.

The mapping is private and nothing writes to it: all processes share the pages of one file. Where that
cannot be written, a temporary file without a name takes its place, for this process and the workers
that inherit its descriptor; no kill leaves it behind.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from hugbench.errors import ChangedInUse, CorruptFile
from hugbench.storage import atomic, sweep

FOLDER = ".hugbench"

_TYPES = {"U8": torch.uint8, "I64": torch.int64}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}

_unnamed: dict[Path, int] = {}


@dataclass(frozen=True)
class Entry:
    """What is kept.

    Attributes:
        tensors: uint8 and int64, contiguous, on the CPU.
        checksum: of the data set, see `measure`.
        unchanged: raises `ChangedInUse` once somebody has written into the file that the tensors are
            mapped from. Who replaces the file, as hugbench does, changes nothing.
    """

    tensors: Mapping[str, Tensor]
    checksum: str
    unchanged: Callable[[], None] = field(default=lambda: None, compare=False)


def cached(path: Path, fingerprint: str, make: Callable[[], Entry], notify: Callable[[str], None]) -> Entry:
    """The entry in `path`, or what `make` gives, which is then kept there.

    An entry of another fingerprint is replaced; a damaged one, too, and `notify` is told, as it
    is where nothing can be written. Writers in several processes do not disturb each other:
    each replaces the file by a whole one.

    Args:
        path: where the entry is, or will be.
        fingerprint: of all that it was made from.
        make: makes it anew.
        notify: is called with a sentence.
    """
    sweep(path.parent)
    try:
        found = _read(path, fingerprint)
    except CorruptFile as error:
        notify(f"{error}; decoding again")
        found = None
    if found is not None:
        return found
    entry = make()
    try:
        with atomic(path) as stream:
            _write(stream, fingerprint, entry)
    except OSError as error:
        notify(f"{path.parent}: cannot be written ({error.strerror}); the images are decoded again next time")
        if not _set_aside(path, fingerprint, entry):
            return entry
    try:
        return _read(path, fingerprint) or entry
    except CorruptFile as error:
        notify(str(error))
        return entry


def unnamed() -> dict[Path, int]:
    """Descriptors of the files that take the place of those that could not be written, by their paths."""
    return dict(_unnamed)


def inherit(files: Mapping[Path, int]) -> None:
    """Use what `unnamed` gave in the process that started this one, and left open for it."""
    _unnamed.update(files)


def _set_aside(path: Path, fingerprint: str, entry: Entry) -> bool:
    """Write an entry to a file without a name, if there is room for one."""
    try:
        with tempfile.TemporaryFile() as stream:
            _write(stream, fingerprint, entry)
            stream.flush()
            before, _unnamed[path] = _unnamed.get(path), os.dup(stream.fileno())
        if before is not None:
            os.close(before)
    except OSError:
        return False
    return True


def _write(stream: BinaryIO, fingerprint: str, entry: Entry) -> None:
    """Write the format of safetensors from the tensors' own memory: no copy of the set is made."""
    stream.write(_header(fingerprint, entry))
    for _, tensor in _in_order(entry):
        stream.write(tensor.numpy().data)


def _mapped(path: Path) -> tuple[mmap.mmap, _Unchanged]:
    """The file's content, private to this process where it is changed, and whether others change it."""
    descriptor = os.dup(_unnamed[path]) if path in _unnamed else os.open(path, os.O_RDONLY)
    unchanged = _Unchanged(path, descriptor)
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY), unchanged


def _read(path: Path, fingerprint: str) -> Entry | None:
    """The entry, mapped from its file; None if there is none of this fingerprint.

    The file is opened once, so that header and data are of one file even while it is replaced.

    Raises:
        CorruptFile: it is not, to the bit, what would be written for what was read.
    """
    try:
        content, unchanged = _mapped(path)
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        metadata = header.pop("__metadata__")
        tensors = {name: _tensor(content, start, info) for name, info in header.items()}
        entry = Entry(tensors, metadata["checksum"], unchanged)
        intact = content[:start] == _header(metadata["fingerprint"], entry)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CorruptFile(path, f"damaged ({type(error).__name__}: {error})") from error
    if not intact:
        raise CorruptFile(path, "damaged (its checksum does not match)")
    return entry if metadata["fingerprint"] == fingerprint else None


class _Unchanged:
    """Whether a file is as it was when this was made; one call costs a microsecond or two."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        weakref.finalize(self, os.close, descriptor)
        self._before = self._state()

    def __call__(self) -> None:
        """Look.

        Raises:
            ChangedInUse: it is not.
        """
        if self._state() != self._before:
            raise ChangedInUse(self._path, "was changed while it was in use")

    def _state(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_mtime_ns, state.st_size


def _header(fingerprint: str, entry: Entry) -> bytes:
    """What stands before the tensors: what and where they are, and a sha256 over that and them."""
    metadata = {"fingerprint": fingerprint, "checksum": entry.checksum}
    places, end = {}, 0
    for name, tensor in _in_order(entry):
        begin, end = end, end + tensor.nbytes
        shape = list(tensor.shape)
        places[name] = {"dtype": _NAMES[tensor.dtype], "shape": shape, "data_offsets": [begin, end]}
    digest = hashlib.sha256(json.dumps([metadata, places]).encode())
    for _, tensor in _in_order(entry):
        digest.update(tensor.numpy().data)
    text = json.dumps({"__metadata__": {**metadata, "sha256": digest.hexdigest()}, **places}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _in_order(entry: Entry) -> list[tuple[str, Tensor]]:
    """int64 first, so that all are aligned."""
    return sorted(entry.tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))


def _tensor(content: mmap.mmap, start: int, info: dict[str, Any]) -> Tensor:
    dtype, shape = _TYPES[info["dtype"]], info["shape"]
    offset = start + info["data_offsets"][0]
    return torch.frombuffer(content, dtype=dtype, count=math.prod(shape), offset=offset).view(shape)
