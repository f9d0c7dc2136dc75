"""The verb `corrupt`: a folder of corrupted images of any data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hugbench.api import data_folder
from hugbench.data import catalogue
from hugbench.errors import UserError, nearest
from hugbench.evaluations.corruption.arguments import check_kinds, check_severities
from hugbench.evaluations.corruption.names import KINDS, SEVERITIES
from hugbench.suite.schema import DatasetSpec

SPLITS = ("test", "train")


@dataclass(frozen=True)
class Corrupted:
    """A folder of corrupted images.

    Attributes:
        folder: where it is.
        written: kinds that were written now.
        kept: kinds that were there.
        severities: in the order of the files' parts.
        images: how many at each severity.
    """

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]
    severities: tuple[int, ...]
    images: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "folder": str(self.folder),
            "written": list(self.written),
            "kept": list(self.kept),
            "severities": list(self.severities),
            "images": self.images,
        }


def corrupt(
    dataset: str,
    out: str | Path,
    *,
    kinds: Iterable[str] = KINDS,
    severities: Iterable[int] = SEVERITIES,
    seed: int = 0,
    split: str = "test",
    frost_dir: str | Path | None = None,
    data: str | Path | None = None,
    image_size: int | None = None,
    device: str = "auto",
    notify: Callable[[str], None] = lambda sentence: None,
) -> Corrupted:
    """Write a folder of corrupted images in the layout of CIFAR-10-C.

    `KIND.npy` is uint8 (S · N, H, W, C): all N images at the first severity, then at the next;
    `labels.npy` has their labels and `corruption.json` says what they were made from. Kinds that an
    earlier call has finished are kept. The evaluation `corruption` reads such a folder (`folder: PATH`)
    and finds the same numbers as with images that it corrupts itself.

    Args:
        dataset: a known data set, or a folder of the data folder.
        out: the folder to write.
        kinds: which corruptions.
        severities: which of 1 to 5.
        seed: of the randomness, at least 0.
        split: test or train.
        frost_dir: a folder with the photographs of frost; hugbench's own textures without it.
        data: the data folder; HUGBENCH_DATA or `data` by default.
        image_size: resize to this many pixels square first; None keeps the images' own size.
        device: auto, cpu, cuda, cuda:N or mps.
        notify: is called with a sentence for each kind.

    Raises:
        UserError: bad input, before anything is written; or the folder holds something else or cannot
            be written.
    """
    kinds, severities, root = tuple(kinds), tuple(sorted(severities)), data_folder(data)
    check_kinds(kinds, key="--kinds")
    check_severities(severities, key="--severities")
    if seed < 0:
        raise UserError("not a seed", key="--seed", found=seed, expected="0 or more")
    if split not in SPLITS:
        raise UserError(
            "no such split",
            key="--split",
            found=split,
            expected=" or ".join(SPLITS),
            nearest=nearest(split, SPLITS),
        )
    spec = _spec(dataset, root, image_size)
    from hugbench.data.sources import load
    from hugbench.evaluations.corruption.origin import check_photographs
    from hugbench.evaluations.corruption.writing import Order, write_folder
    from hugbench.execution.device import find_device

    place = find_device(device)
    found = load(spec, root, notify=notify)
    images = found.test if split == "test" else found.train
    frost = None if frost_dir is None else Path(frost_dir)
    if frost is not None:
        check_photographs(frost, images.shape)
    order = Order(dataset, found.checksum, split, images, severities, seed, frost)
    written, kept = write_folder(Path(out), order, kinds, place, notify)
    return Corrupted(Path(out), tuple(written), tuple(kept), severities, len(images))


def _spec(dataset: str, root: Path, image_size: int | None) -> DatasetSpec:
    catalogue.check(dataset, root)
    try:
        return DatasetSpec(name=dataset, image_size=image_size)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"not a valid value ({first['msg']})", key=f"dataset.{first['loc'][0]}", found=first["input"]
        ) from None
