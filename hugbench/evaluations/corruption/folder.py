"""Folders of corrupted images in the layout of CIFAR-10-C, published or written by `hugbench corrupt`.

`KIND.npy` is uint8 (S · N, H, W, C), the N images at every one of the S severities in turn, and
`labels.npy` their labels (S · N,). A published folder has S = 5. One that hugbench wrote says in
`corruption.json` what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hugbench.data.images import Dataset
from hugbench.errors import UserError
from hugbench.evaluations.corruption.matching import matching_rows
from hugbench.evaluations.corruption.names import EXTRA, KINDS, SEVERITIES
from hugbench.storage import file_sha256

PUBLISHED = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}
"""Names of the published folders, by data set."""

LABELS = "labels.npy"
PROVENANCE = "corruption.json"


@dataclass(frozen=True)
class CorruptedFolder:
    """The corrupted versions of the test images of a data set, mapped from files.

    Attributes:
        path: the folder.
        files: by kind, uint8 (S · N, H, W, C), mapped.
        severities: the S of them, in the files' order.
        count: N.
        rows: which of the N each test image of the data set is, int64 (len(test),).
        made_by: what `corruption.json` says; None for a published folder.
    """

    path: Path
    files: Mapping[str, NDArray[np.uint8]]
    severities: tuple[int, ...]
    count: int
    rows: Tensor
    made_by: Mapping[str, Any] | None

    def images(self, kind: str, severity: int, indices: Tensor, device: torch.device) -> Tensor:
        """Corrupted test images uint8 (B, C, H, W) on `device`; `indices` int64 (B,) into the test split."""
        block = self.severities.index(severity) * self.count
        chosen = self.files[kind][block + self.rows[indices].numpy()]
        return torch.from_numpy(chosen).to(device).permute(0, 3, 1, 2).contiguous()

    def checksums(self) -> dict[str, str]:
        """sha256 of every file that is used, by name."""
        names = [f"{kind}.npy" for kind in self.files]
        return {name: _sha256(self.path / name) for name in (*names, LABELS)}

    def checksum(self) -> str:
        """One sha256 over those of the files."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.checksums().items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def find_folder(dataset: str, data: Path, source: str, folder: str | None) -> Path | None:
    """The folder that a source means; None where images are corrupted here.

    Args:
        dataset: its name.
        data: the data folder, where relative paths start.
        source: auto, folder or own.
        folder: as the suite names it; None for the published one.

    Raises:
        UserError: there is no such folder.
    """
    if source == "own":
        return None
    named = folder or PUBLISHED.get(dataset)
    if named is None:
        if source == "auto":
            return None
        raise UserError(
            f"there are no published corrupted images of {dataset}",
            key="folder",
            found="null",
            expected="folder: one that `hugbench corrupt` has written, or source: auto or own",
        )
    if (data / named).is_dir():
        return data / named
    if folder is None and source == "auto":
        return None
    raise UserError(
        "no such folder",
        where=data / named,
        expected=f"a folder with {LABELS} and a .npy for every kind of corruption",
    )


def open_folder(
    path: Path, dataset: Dataset, kinds: Sequence[str], severities: Sequence[int]
) -> CorruptedFolder:
    """Map the files of a folder, once all of them are seen to fit the data set.

    Raises:
        UserError: a file is missing, is no array, or has the wrong type or shape; labels or images are
            not the data set's; a severity is not in it.
    """
    made_by = _provenance(path)
    there = SEVERITIES if made_by is None else tuple(made_by["severities"])
    if missing := [severity for severity in severities if severity not in there]:
        raise UserError(
            "the folder lacks a severity", where=path, found=missing, expected=f"of {list(there)}"
        )
    labels, count = _labels(path, len(there))
    files = {kind: _images(path, kind, len(labels), dataset.test.shape) for kind in kinds}
    if made_by is None:
        brighter = None
        if (path / "brightness.npy").is_file():
            brighter = _images(path, "brightness", len(labels), dataset.test.shape)[:count]
        rows = matching_rows(dataset.test, labels[:count], brighter, path)
    else:
        rows = _own_rows(path, made_by, dataset, count)
    return CorruptedFolder(path, files, there, count, rows, made_by)


def _provenance(path: Path) -> Mapping[str, Any] | None:
    file = path / PROVENANCE
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())
        severities = found["severities"]
        if not severities or not all(severity in SEVERITIES for severity in severities):
            raise ValueError(f"severities {severities}")
        return {**found, "data_sha256": str(found["data_sha256"]), "split": str(found["split"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"is damaged ({type(error).__name__}: {error})",
            where=file,
            expected="as `hugbench corrupt` wrote it",
        ) from None


def _own_rows(path: Path, made_by: Mapping[str, Any], dataset: Dataset, count: int) -> Tensor:
    """A folder of hugbench's has the order of the split that it was made from."""
    rows = dataset.test.rows
    if (made_by["data_sha256"], made_by["split"]) == (dataset.checksum, "test") and int(rows.max()) < count:
        return rows
    raise UserError(
        "the corrupted images were made from other images",
        where=path / PROVENANCE,
        found=f"split {made_by['split']} of data with checksum {made_by['data_sha256'][:12]}",
        expected=f"split test of {dataset.name}, checksum {dataset.checksum[:12]}",
    )


def _labels(path: Path, severities: int) -> tuple[NDArray[np.int64], int]:
    """All labels, and how many images there are at each severity."""
    found = _array(path / LABELS)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found) or len(found) % severities:
        raise UserError(
            "not labels",
            where=path / LABELS,
            found=f"{found.dtype} {found.shape}",
            expected=f"whole numbers, {severities} times as many as test images",
        )
    labels, count = np.array(found, np.int64), len(found) // severities
    if not (labels.reshape(severities, count) == labels[:count]).all():
        raise UserError(
            "the labels differ between severities", where=path / LABELS, expected=f"{severities} equal parts"
        )
    return labels, count


def _images(path: Path, kind: str, length: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    channels, height, width = shape
    file = path / f"{kind}.npy"
    found, expected = _array(file), (length, height, width, channels)
    if found.dtype != np.uint8 or found.shape != expected:
        raise UserError(
            "not the corrupted images of this data set",
            where=file,
            found=f"{found.dtype} {found.shape}",
            expected=f"uint8 {expected}; source: own corrupts the images here",
        )
    return found


def _array(file: Path) -> NDArray[Any]:
    """A file of NumPy, mapped; no pickle is read."""
    try:
        found: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        present = [kind for kind in (*KINDS, *EXTRA) if (file.parent / f"{kind}.npy").exists()]
        raise UserError(
            "no such file",
            where=file,
            expected=f"{LABELS} and a file of every kind; of these there are {', '.join(present) or 'none'}",
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot be read ({error})", where=file, expected="an array of NumPy") from None
    if not isinstance(found, np.ndarray) or math.prod(found.shape) == 0:
        raise UserError("holds no array", where=file, expected="an array of NumPy")
    return found


def _sha256(file: Path) -> str:
    state = file.stat()
    return _file_sha256(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_sha256(file: Path, _size: int, _modified: int) -> str:
    """Once per process for a file that does not change: a published folder is 3 GB."""
    return file_sha256(file)
