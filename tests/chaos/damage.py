"""Files that are damaged, and times that are wrong."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

DAY = 86_400

WHERE = {
    "checkpoint": "runs/*/resume.pt",
    "records": "runs/*/records/*.jsonl",
    "predictions": "runs/*/predictions/*.parquet",
    "details": "runs/*/details/*.json",
    "status": "runs/*/status.json",
    "weights": "runs/*/model.safetensors",
    "snapshot": "runs/*/snapshots/*.safetensors",
    "ledger": "runs/*/scratch/*/adversarial/*.jsonl",
    "specification": "runs/*/run.yaml",
    "cache": ".hugbench/*.safetensors",
}
"""What can be damaged, and where it lies in the results folder, or, the cache, in the data folder."""


def _flip(path: Path, draw: random.Random) -> None:
    """One bit, in place: the file stays the same one, for whoever has it mapped as well."""
    with path.open("r+b") as stream:
        place = draw.randrange(max(1, path.stat().st_size))
        stream.seek(place)
        byte = stream.read(1) or b"\0"
        stream.seek(place)
        stream.write(bytes([byte[0] ^ 1 << draw.randrange(8)]))


def _cut(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(1, max(2, path.stat().st_size)))


def _empty(path: Path, draw: random.Random) -> None:
    os.truncate(path, 0)


def _delete(path: Path, draw: random.Random) -> None:
    path.unlink()


HARM: dict[str, Callable[[Path, random.Random], None]] = {
    "flipped": _flip,
    "cut": _cut,
    "emptied": _empty,
    "deleted": _delete,
}


def damage(results: Path, data: Path, what: str, harm: str, draw: random.Random) -> Path | None:
    """Damage one file of a kind; None where there is none, or it is gone in that moment.

    Args:
        results, data: the folders.
        what: of `WHERE`.
        harm: of `HARM`.
        draw: which file, which bit.
    """
    found = sorted((data if what == "cache" else results).glob(WHERE[what]))
    if not found:
        return None
    path = draw.choice(found)
    try:
        HARM[harm](path, draw)
    except OSError:
        return None
    return path


def misdate(folders: Iterable[Path], draw: random.Random) -> int:
    """Give some of the files below folders times of long ago, or of the future; how many."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    found = [path for path in files if draw.random() < 0.3]
    for path in found:
        try:
            when = time.time() + draw.choice([-3650, -30, -1, 1, 30, 3650]) * DAY
            os.utime(path, (when, when))
        except OSError:
            continue
    return len(found)
