"""Write a folder of corrupted images in the layout of CIFAR-10-C, kind by kind, in flat memory."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

import hugbench
from hugbench.data.images import Images
from hugbench.errors import UserError
from hugbench.evaluations.corruption.constants import strength
from hugbench.evaluations.corruption.folder import LABELS, PROVENANCE
from hugbench.evaluations.corruption.frost import PHOTOGRAPHS
from hugbench.evaluations.corruption.kinds import EXTRA, KINDS, corrupt
from hugbench.evaluations.corruption.names import SEVERITIES
from hugbench.storage import atomic, file_sha256, sweep, write_atomic

BATCH = 500


@dataclass(frozen=True)
class Order:
    """What is to be written.

    Attributes:
        dataset: its name.
        data_sha256: the checksum of the data set.
        split: of the data set.
        images: of that split, all of them.
        severities: which, in the order of the files' parts.
        seed: of the randomness.
        frost_dir: the photographs of frost, or None.
    """

    dataset: str
    data_sha256: str
    split: str
    images: Images
    severities: tuple[int, ...]
    seed: int
    frost_dir: Path | None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the file of every kind: (S · N, H, W, C)."""
        channels, height, width = self.images.shape
        return len(self.severities) * len(self.images), height, width, channels

    def provenance(self) -> dict[str, Any]:
        """All that the pixels of a kind depend on, as plain data."""
        size = self.images.shape[1:]
        constants = [strength(kind, severity, *size) for kind in (*KINDS, *EXTRA) for severity in SEVERITIES]
        return {
            "hugbench": hugbench.__version__,
            "dataset": self.dataset,
            "data_sha256": self.data_sha256,
            "split": self.split,
            "images": len(self.images),
            "image_shape": list(self.images.shape),
            "severities": list(self.severities),
            "seed": self.seed,
            "constants_sha256": hashlib.sha256(repr(constants).encode()).hexdigest(),
            "frost_sha256": None if self.frost_dir is None else _photographs(self.frost_dir),
        }


def write_folder(
    out: Path, order: Order, kinds: Sequence[str], device: torch.device, tell: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """Write the files of `kinds`; those that are there already, from the same order, are kept.

    A file appears under its name when it is complete, so what a kill interrupts is begun again with
    the kind it was at.

    Args:
        out: the folder; it need not be there.
        order: what to write.
        kinds: which corruptions.
        device: where to compute.
        tell: is called with a sentence for each kind.

    Returns:
        The kinds that were written and those that were kept.

    Raises:
        UserError: the folder holds something else, is in use or cannot be written; the disk is too small.
    """
    _refuse_foreign(out)
    with _writing(out):
        _claim(out, order.provenance())
        kept = [kind for kind in kinds if (out / f"{kind}.npy").exists()]
        missing = [kind for kind in kinds if kind not in kept]
        _room(out, len(missing) * math.prod(order.shape))
        with atomic(out / LABELS) as stream:
            np.save(stream, np.tile(order.images.targets.numpy(), len(order.severities)))
        for kind in missing:
            _write(out / f"{kind}.npy", order, kind, device)
            tell(f"{kind}: {len(order.images):,} images at {len(order.severities)} severities")
    return missing, kept


def _write(path: Path, order: Order, kind: str, device: torch.device) -> None:
    """The file of one kind: one pass over the images, each batch written to its place at each severity."""
    header = {"descr": "|u1", "fortran_order": False, "shape": order.shape}
    with atomic(path) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        start, bytes_each = stream.tell(), math.prod(order.shape[1:])
        for pixels, _, indices in order.images.batches(BATCH, device):
            rows = order.images.rows[indices]
            for part, severity in enumerate(order.severities):
                images = corrupt(
                    pixels, kind, severity, seed=order.seed, indices=rows, frost_dir=order.frost_dir
                )
                stream.seek(start + (part * len(order.images) + int(indices[0])) * bytes_each)
                stream.write(images.permute(0, 2, 3, 1).contiguous().cpu().numpy().data)


def _refuse_foreign(out: Path) -> None:
    """See that the folder is hugbench's, or that there is nothing in it."""
    unclaimed = out.is_dir() and not (out / PROVENANCE).exists()
    if unclaimed and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise UserError("the folder holds other files", where=out, expected="an empty folder, or a new one")


def _claim(out: Path, provenance: dict[str, Any]) -> None:
    """See that the folder is new or of the same order, and say in it what it is; clear away remains."""
    file = out / PROVENANCE
    text = json.dumps(provenance, indent=1) + "\n"
    if file.exists() and file.read_text() != text:
        raise UserError(
            "the folder holds images that were corrupted in another way",
            where=file,
            found=_differences(file, provenance),
            expected="the same data, split, severities, seed and version; or another folder",
        )
    sweep(out)
    if not file.exists():
        write_atomic(file, text.encode())


def _differences(file: Path, provenance: dict[str, Any]) -> str:
    """What of the order differs from what the folder was made from."""
    try:
        there = json.loads(file.read_text())
        pairs = {key: (there.get(key), value) for key, value in provenance.items()}
    except (ValueError, AttributeError):
        return "a file that is damaged"
    changed = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    return ", ".join(
        key if key.endswith("sha256") else f"{key} {old} where {new} is asked for"
        for key, (old, new) in changed.items()
    )


def _room(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if free < needed:
        raise UserError(
            "the disk is too small",
            where=out,
            found=f"{free / 1e9:.1f} GB free",
            expected=f"{needed / 1e9:.1f} GB",
        )


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """The folder, locked; what the system refuses becomes a user error."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise UserError("another process is writing to the folder", where=out) from None
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror or error})",
            where=out,
            expected="a folder that can be written; what is finished in it is kept",
        ) from error


def _photographs(folder: Path) -> str:
    """One sha256 over the photographs of frost."""
    lines = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in PHOTOGRAPHS)
    return hashlib.sha256(lines.encode()).hexdigest()
