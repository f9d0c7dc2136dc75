"""The folder of a run in memory, for workers that do not see the results folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hugbench.results.status import DAMAGED, Status
from hugbench.results.store import RunFolder
from hugbench.storage import write_atomic

STATUS = "status.json"


@dataclass(frozen=True)
class Packed:
    """A file: its content, and when it was changed last, in ns."""

    content: bytes
    changed: int


Parcel = Mapping[str, Packed]
"""Files by their path within the run's folder."""


def pack(folder: RunFolder, wanted: Callable[[str], bool] = lambda name: True) -> Parcel:
    """All files of a run but locks and unfinished ones. For whoever has the lock."""
    return {
        name: Packed(path.read_bytes(), path.stat().st_mtime_ns)
        for name, path in sorted(_files(folder).items())
        if wanted(name)
    }


def pack_weights(folder: RunFolder) -> Parcel:
    """What others look at of a paired baseline: its status and its weights."""
    return pack(folder, lambda name: name == STATUS or name.endswith(".safetensors"))


def unpack(folder: RunFolder, parcel: Parcel) -> None:
    """Write the files to a folder that nobody else knows."""
    for name, packed in parcel.items():
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed.content)
        os.utime(path, ns=(packed.changed, packed.changed))


def put_back(folder: RunFolder, parcel: Parcel) -> str | None:
    """Make the folder what came back, or leave it as it is and tell why. For whoever has the lock.

    Files are replaced one by one, the status last: killed in between, the run is one that goes on, as
    after any other kill.

    Returns:
        Why the parcel is not taken: it is damaged, or something finished would be lost; None if it is.
    """
    if STATUS not in parcel:
        return None
    theirs = Status.read(parcel[STATUS].content)
    if theirs.error == DAMAGED:
        return "its status came back damaged"
    changed = {name: packed for name, packed in parcel.items() if not _is(folder.path / name, packed.content)}
    for name, packed in changed.items():
        if name in theirs.files and theirs.files[name] != hashlib.sha256(packed.content).hexdigest():
            return f"{name} came back damaged"
    if _loses(folder, theirs):
        return "what came back is less than what is here"
    before = _files(folder)
    for name in sorted(changed, key=lambda name: name == STATUS):
        path, packed = folder.path / name, changed[name]
        write_atomic(path, packed.content)
        os.utime(path, ns=(packed.changed, packed.changed))
    for name in before.keys() - parcel.keys():
        before[name].unlink(missing_ok=True)
    return None


def _files(folder: RunFolder) -> dict[str, Path]:
    """Files by their path within the folder; those whose names begin with a dot are of this machine."""
    found = (path for path in folder.path.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder.path).as_posix(): path for path in found}


def _is(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _loses(folder: RunFolder, theirs: Status) -> bool:
    """Whether a model or an evaluation that is finished and whole here would be gone."""
    ours = folder.status()
    weights = [folder.path / name for name in ours.files if name.endswith(".safetensors")]
    if ours.state != "trained" or any(folder.damaged(ours, file) for file in weights):
        return False
    missing = set(ours.evaluations) - set(theirs.evaluations)
    return theirs.state != "trained" or any(not folder.damaged_evaluation(ours, key) for key in missing)
