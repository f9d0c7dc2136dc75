"""A checksum of very many files that reads a little of each."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hugbench.data.listing import Listing, Part
from hugbench.errors import UserError

PREFIX = "samples-"
"""In front of the checksum, so that nobody takes it for one over pixels."""

SAMPLE = 4096
"""Bytes from the middle of a file, where a JPEG has been compressed."""

THREADS = 16
_CHUNK = 512


def contents(listing: Listing) -> str:
    """What a folder's images are, without decoding one.

    `samples-` and sha256 as hex over every file of train and then test: its class and name, label and
    size, and 4 KiB from its middle (all of it where it has less). It does not look at times and is the
    same for every copy of the files.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor(THREADS) as pool:
        for name, part in (("train", listing.train), ("test", listing.test)):
            digest.update(f"{name} {len(part.files)}\n".encode())
            chunks = [slice(start, start + _CHUNK) for start in range(0, len(part.files), _CHUNK)]
            for found in pool.map(lambda chunk, part=part: _digests(listing.folder, part, chunk), chunks):
                digest.update(found)
    return PREFIX + digest.hexdigest()


def _digests(folder: Path, part: Part, chunk: slice) -> bytes:
    """A sha256 for each of some files, one after the other."""
    pairs = zip(part.files[chunk], part.labels[chunk], strict=True)
    return b"".join(_digest(folder, file, label) for file, label in pairs)


def _digest(folder: Path, file: str, label: int) -> bytes:
    try:
        with open(folder / file, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - SAMPLE) // 2)
            sample = stream.read(SAMPLE)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=folder / file) from error
    name = file.partition("/")[2]  # without the part, which may be called otherwise
    return hashlib.sha256(os.fsencode(f"{name}\0{label}\0{size}\n") + sample).digest()
