"""Decoded data sets, kept beside their files: `ROOT/.hugbench/NAME.safetensors`, memory-mapped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hugbench.errors import CorruptFile
from hugbench.storage import atomic

FOLDER = ".hugbench"

_DTYPES = {torch.uint8: "U8", torch.int64: "I64"}


@dataclass(frozen=True)
class Entry:
    """What is kept.

    Attributes:
        tensors: uint8 and int64, contiguous, on the CPU.
        checksum: of the data set, see `measure`.
    """

    tensors: Mapping[str, Tensor]
    checksum: str


def cached(
    path: Path, fingerprint: str, make: Callable[[], Entry], notify: Callable[[str], None]
) -> Entry:
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
    try:
        found = _read(path, fingerprint)
    except CorruptFile as error:
        notify(f"{error}; decoding again")
        found = None
    if found is not None:
        return found
    entry = make()
    try:
        _write(path, fingerprint, entry)
    except OSError as error:
        notify(f"{path.parent}: cannot be written ({error.strerror}); the images are decoded again next time")
    return entry


def _write(path: Path, fingerprint: str, entry: Entry) -> None:
    """Write the safetensors format from the tensors' own memory: no copy of the set is made."""
    metadata = {"fingerprint": fingerprint, "checksum": entry.checksum, "sha256": _sha256(fingerprint, entry)}
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in entry.tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for tensor in entry.tensors.values():
            stream.write(tensor.numpy().data)


def _read(path: Path, fingerprint: str) -> Entry | None:
    """The entry; None if there is none of this fingerprint.

    Raises:
        CorruptFile: it is not as it was written.
    """
    try:
        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            entry = Entry({name: file.get_tensor(name) for name in file.keys()}, metadata["checksum"])
        intact = _sha256(metadata["fingerprint"], entry) == metadata["sha256"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptFile(path, f"damaged ({error})") from error
    if not intact:
        raise CorruptFile(path, "damaged (its checksum does not match)")
    return entry if metadata["fingerprint"] == fingerprint else None


def _sha256(fingerprint: str, entry: Entry) -> str:
    """Over all of an entry, but the padding of its file."""
    digest = hashlib.sha256(f"{fingerprint}\n{entry.checksum}\n".encode())
    for name in sorted(entry.tensors):
        tensor = entry.tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
