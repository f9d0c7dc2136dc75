"""Where corrupted images come from: made here, or read from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import hugbench
from hugbench.data.images import Dataset
from hugbench.errors import UserError
from hugbench.evaluations.corruption.constants import strength
from hugbench.evaluations.corruption.folder import CorruptedFolder, find_folder, open_folder
from hugbench.evaluations.corruption.frost import check_frost_dir
from hugbench.evaluations.corruption.kinds import corrupt


@dataclass(frozen=True)
class Own:
    """Images that are corrupted here."""

    rows: Tensor
    seed: int
    frost_dir: Path | None

    def images(self, pixels: Tensor, kind: str, severity: int, indices: Tensor) -> Tensor:
        """Corrupted versions uint8 (B, C, H, W) of `pixels`, which are at `indices` of the test split."""
        rows = self.rows[indices]
        return corrupt(pixels, kind, severity, seed=self.seed, indices=rows, frost_dir=self.frost_dir)

    def told(self) -> str:
        """Where the images come from, in a sentence."""
        frost = "" if self.frost_dir is None else f", frost from {self.frost_dir.name}"
        return f"images corrupted by hugbench {hugbench.__version__}, seed {self.seed}{frost}"

    def details(self) -> dict[str, Any]:
        """The same as plain data."""
        frost = None if self.frost_dir is None else self.frost_dir.name
        return {"source": "own", "hugbench": hugbench.__version__, "seed": self.seed, "frost_dir": frost}


@dataclass(frozen=True)
class FromFolder:
    """Images that were corrupted before."""

    folder: CorruptedFolder

    def images(self, pixels: Tensor, kind: str, severity: int, indices: Tensor) -> Tensor:
        """As `Own.images`."""
        return self.folder.images(kind, severity, indices, pixels.device)

    def told(self) -> str:
        """Where the images come from, in a sentence."""
        by = self.folder.made_by
        made = "" if by is None else f", written by hugbench {by.get('hugbench')}, seed {by.get('seed')}"
        return f"corrupted images from {self.folder.path.name} (sha256 {self.folder.checksum()[:12]}{made})"

    def details(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "source": self.folder.path.name,
            "sha256": self.folder.checksums(),
            "made_by": self.folder.made_by,
        }


def source_of(
    dataset: Dataset,
    data: Path,
    *,
    kinds: Sequence[str],
    severities: Sequence[int],
    seed: int,
    source: str,
    folder: str | None,
    frost_dir: str | None,
) -> Own | FromFolder:
    """Where the corrupted images come from, checked; see `corruption` for the arguments.

    Raises:
        UserError: as `preflight` says.
    """
    if not len(dataset.test):
        raise UserError(f"{dataset.name} has no test images", key="evaluations.corruption")
    path = find_folder(dataset.name, data, source, folder)
    if path is not None:
        return FromFolder(open_folder(path, dataset, kinds, severities))
    if frost_dir is not None:
        check_photographs(data / frost_dir, dataset.test.shape)
    return Own(dataset.test.rows, seed, None if frost_dir is None else data / frost_dir)


def check_photographs(folder: Path, shape: tuple[int, int, int]) -> None:
    """See that the photographs of frost are there, and large enough for images of `shape` (C, H, W).

    Raises:
        UserError: one is missing, cannot be read or is too small.
    """
    _, height, width = shape
    check_frost_dir(folder, height, width, strength("frost", 1, height, width)[-1])


def preflight(dataset: Dataset, data: Path, **arguments: Any) -> None:
    """See that there are images to evaluate on, before anything is trained.

    Raises:
        UserError: no test images; a folder does not fit them, or is missing.
    """
    source_of(dataset, data, **arguments)
