"""A data set before it is split, and what of it is kept beside its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hugbench.data.cache import FOLDER, Entry
from hugbench.data.decode import Pixels, resized
from hugbench.data.images import Images, ResidentImages
from hugbench.data.measure import measure
from hugbench.suite.schema import DatasetSpec

Arrays = tuple[Pixels, Tensor]
"""Images uint8 (N, C, H, W) and labels int64 (N,)."""

FORMAT = 1
"""Raised when the same files would be decoded to other pixels."""


@dataclass(frozen=True)
class Whole:
    """All images of a data set.

    Attributes:
        classes: label i is `classes[i]`.
        train, test: the images.
        sums: of training images at these places, int64 (N,), what `measure` gives for them.
        checksum: of all images and labels, as `measure` gives it; with a survey of folders that of
            `samples.contents`.
    """

    classes: tuple[str, ...]
    train: Images
    test: Images
    sums: Callable[[Tensor], Tensor]
    checksum: str


def resident(
    entry: Entry,
    classes: tuple[str, ...],
    spec: DatasetSpec,
    originals: Images | None = None,
    checksum: str | None = None,
) -> Whole:
    """A data set from what `kept` gave; `originals` are its training images in their files."""
    train, test = (
        ResidentImages(
            entry.tensors[f"{part}.images"],
            entry.tensors[f"{part}.targets"],
            resized=spec.image_size is not None,
            originals=files,
            unchanged=entry.unchanged,
        )
        for part, files in (("train", originals), ("test", None))
    )
    return Whole(classes, train, test, partial(sums_of_rows, entry), checksum or entry.checksum)


def sums_of_rows(entry: Entry, rows: Tensor) -> Tensor:
    """The sums of some training images, from all of them."""
    return entry.tensors["sums"][rows]


def kept(train: Arrays, test: Arrays) -> Entry:
    """Both splits, with what `measure` finds."""
    parts = {"train": train, "test": test}
    images = {part: torch.from_numpy(pixels) for part, (pixels, _) in parts.items()}
    tensors = {f"{part}.images": pixels for part, pixels in images.items()}
    tensors |= {f"{part}.targets": targets for part, (_, targets) in parts.items()}
    sums, checksum = measure(*(ResidentImages(images[part], parts[part][1]) for part in parts))
    return Entry({**tensors, "sums": sums}, checksum)


def as_asked(arrays: Arrays, spec: DatasetSpec) -> Arrays:
    """Images in the size that a spec asks for."""
    images, targets = arrays
    if spec.image_size is None:
        return arrays
    return np.ascontiguousarray(resized(images, spec.image_size, spec.shorter_side)), targets


def place(root: Path, spec: DatasetSpec, what: str = "") -> Path:
    """Where the images of a spec, or what is known of them, are kept in the data folder."""
    size = f"-{spec.image_size}px" if spec.image_size else ""
    size += f"-of-{spec.shorter_side}" if spec.shorter_side else ""
    return root / FOLDER / f"{spec.name}{size}{what}.safetensors"


def key(fingerprint: str, spec: DatasetSpec, channels: int | None = None) -> str:
    """A hash of all that decoded images are made from."""
    parts = FORMAT, fingerprint, spec.image_size, channels
    text = repr(parts if spec.shorter_side is None else (*parts, spec.shorter_side))
    return hashlib.sha256(text.encode()).hexdigest()
