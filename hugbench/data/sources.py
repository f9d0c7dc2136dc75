"""From the name of a data set to the images of a run: found or downloaded, decoded once, split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hugbench.data import catalogue, published
from hugbench.data.cache import FOLDER, Entry, cached
from hugbench.data.decode import Decoder, fitting, look, resized
from hugbench.data.images import Dataset, Images, ResidentImages
from hugbench.data.known import KNOWN, Known
from hugbench.data.listing import Listing, Part, list_folder
from hugbench.data.machine import available_memory
from hugbench.data.measure import mean_and_std, measure
from hugbench.data.splits import balanced, hold_out, long_tailed
from hugbench.data.streaming import StreamedImages
from hugbench.errors import UserError
from hugbench.suite.schema import DatasetSpec

FORMAT = 1
"""Raised when the same files would be decoded to other pixels."""


@dataclass(frozen=True)
class _Whole:
    """A data set before it is split: `sums` and `checksum` as `measure` gives them."""

    classes: tuple[str, ...]
    train: Images
    test: Images
    sums: Tensor
    checksum: str


def load(spec: DatasetSpec, root: Path, *, notify: Callable[[str], None]) -> Dataset:
    """The data set of a run.

    The validation images are held out first, balanced as the set is; then `max_train` cuts what is
    left, or `long_tail`, within `max_train` if both are given. Mean and deviation are of the images
    that remain to train on. The test images keep their balance. Resident or streamed, the same spec
    gives the same bits.

    Args:
        spec: which images.
        root: the data folder; downloads and `.hugbench`, the decoded images, go there.
        notify: is called with a sentence when something is downloaded, decoded or damaged.

    Raises:
        UserError: no such data set, it cannot be downloaded, an image cannot be read, images or
            classes do not fit together, too few images for what is asked.
    """
    whole = _whole(spec, root, notify)
    classes, targets = whole.classes, whole.train.targets
    left, held = hold_out(targets, classes, spec.validation, spec.validation_seed)
    train = left[_subset(targets[left], classes, spec)]
    test = balanced(whole.test.targets, classes, spec.max_test, spec.subset_seed, "test")
    mean, std = mean_and_std(whole.sums[train], math.prod(whole.train.shape[1:]))
    return Dataset(
        name=spec.name,
        classes=classes,
        train=whole.train.subset(train),
        validation=whole.train.subset(held) if len(held) else None,
        test=whole.test.subset(test),
        mean=mean,
        std=std,
        checksum=whole.checksum,
    )


def _subset(targets: Tensor, classes: tuple[str, ...], spec: DatasetSpec) -> Tensor:
    """Which of the images with these labels are trained on."""
    if spec.long_tail is None:
        return balanced(targets, classes, spec.max_train, spec.subset_seed, "train")
    return long_tailed(targets, classes, spec.long_tail, spec.max_train)


def _whole(spec: DatasetSpec, root: Path, notify: Callable[[str], None]) -> _Whole:
    known, found = KNOWN.get(spec.name), catalogue.find(spec.name, root)
    if found is not None and found.form == "folder" and found.path is not None:
        return _from_folder(spec, root, list_folder(found.path, known), notify)
    if known is None:
        raise catalogue.unknown(spec.name, root)
    if spec.resident == "never":
        raise UserError(
            "only images in folders can be streamed",
            key="dataset.resident",
            found=spec.resident,
            expected=f"auto or always, or images in {root / spec.name}/{{train,test}}/CLASS",
        )
    if found is None:
        published.download(known, root, notify)
    return _resident(_published(spec, root, known, notify), known.classes)


def _published(spec: DatasetSpec, root: Path, known: Known, notify: Callable[[str], None]) -> Entry:
    if known.torchvision is None:
        return _entry(*published.digits(), spec.image_size)
    return cached(
        _cache(root, spec),
        _key(published.fingerprint(known, root), spec.image_size),
        lambda: _entry(*published.read(known, root), spec.image_size),
        notify,
    )


def _from_folder(spec: DatasetSpec, root: Path, listing: Listing, notify: Callable[[str], None]) -> _Whole:
    files = listing.train.files + listing.test.files
    channels = KNOWN[spec.name].channels if spec.name in KNOWN else None
    key = _key(listing.fingerprint, spec.image_size, channels)

    def decode() -> Entry:
        notify(f"{spec.name}: decoding {len(files):,} images, once")
        decoder = fitting(listing.folder, files, channels, spec.image_size)
        return _entry(_decoded(listing.train, decoder), _decoded(listing.test, decoder), None)

    def survey() -> Entry:
        notify(f"{spec.name}: reading {len(files):,} images, once")
        decoder = fitting(listing.folder, files, channels, spec.image_size)
        sums, checksum = measure(_stream(listing.train, decoder), _stream(listing.test, decoder))
        return Entry({"shape": torch.tensor(decoder.shape), "sums": sums}, checksum)

    if spec.resident == "always" or (spec.resident == "auto" and _fits(listing, channels, spec.image_size)):
        return _resident(cached(_cache(root, spec), key, decode, notify), listing.classes)
    entry = cached(_cache(root, spec, ".sums"), key, survey, notify)
    depth, height, width = entry.tensors["shape"].tolist()
    decoder = Decoder(listing.folder, files[0], (depth, height, width), spec.image_size is not None)
    train, test = _stream(listing.train, decoder), _stream(listing.test, decoder)
    return _Whole(listing.classes, train, test, entry.tensors["sums"], entry.checksum)


def _fits(listing: Listing, channels: int | None, image_size: int | None) -> bool:
    """Whether all images, if they are like the first, take no more than half of the memory."""
    depth, height, width = look(listing.folder / listing.train.files[0])
    pixels = (channels or depth) * (image_size**2 if image_size else height * width)
    return (len(listing.train.files) + len(listing.test.files)) * pixels <= available_memory() // 2


def _decoded(part: Part, decoder: Decoder) -> published.Arrays:
    images = np.empty((len(part.files), *decoder.shape), np.uint8)
    decoder.into(part.files, images)
    return images, torch.tensor(part.labels)


def _stream(part: Part, decoder: Decoder) -> StreamedImages:
    return StreamedImages(part.files, torch.tensor(part.labels), decoder)


def _entry(train: published.Arrays, test: published.Arrays, image_size: int | None) -> Entry:
    """Both splits, resized if need be, with what `measure` finds."""
    tensors: dict[str, Tensor] = {}
    for name, (images, targets) in (("train", train), ("test", test)):
        if image_size is not None:
            images = resized(images, image_size)
        tensors[f"{name}.images"] = torch.from_numpy(images)
        tensors[f"{name}.targets"] = targets
    sums, checksum = measure(_images(tensors, "train"), _images(tensors, "test"))
    return Entry({**tensors, "sums": sums}, checksum)


def _resident(entry: Entry, classes: tuple[str, ...]) -> _Whole:
    train, test = _images(entry.tensors, "train"), _images(entry.tensors, "test")
    return _Whole(classes, train, test, entry.tensors["sums"], entry.checksum)


def _images(tensors: Mapping[str, Tensor], name: str) -> ResidentImages:
    return ResidentImages(tensors[f"{name}.images"], tensors[f"{name}.targets"])


def _cache(root: Path, spec: DatasetSpec, suffix: str = "") -> Path:
    size = f"-{spec.image_size}px" if spec.image_size else ""
    return root / FOLDER / f"{spec.name}{size}{suffix}.safetensors"


def _key(fingerprint: str, image_size: int | None, channels: int | None = None) -> str:
    text = repr((FORMAT, fingerprint, image_size, channels))
    return hashlib.sha256(text.encode()).hexdigest()
