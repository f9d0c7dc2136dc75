"""From the name of a data set to the images of a run: found or downloaded, decoded once, split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hugbench.data import catalogue, published
from hugbench.data.cache import FOLDER, Entry, cached
from hugbench.data.decode import Decoder, decoder, resized
from hugbench.data.folder import Listing, Part, list_folder
from hugbench.data.images import Dataset, Images, ResidentImages
from hugbench.data.known import KNOWN, Known
from hugbench.data.machine import available_memory
from hugbench.data.measure import mean_and_std, measure
from hugbench.data.splits import balanced, hold_out
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

    The validation images are held out first, then `max_train` cuts what is left; mean and
    deviation are of the images that remain to train on. The same spec gives the same bits,
    whichever form the set lies in, resident or streamed.

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
    train = left[balanced(targets[left], classes, spec.max_train, spec.subset_seed, "train")]
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


def _whole(spec: DatasetSpec, root: Path, notify: Callable[[str], None]) -> _Whole:
    known = KNOWN.get(spec.name)
    found = catalogue.find(spec.name, root)
    if found is not None and found.path is not None and found.form == "folder":
        return _Folder(spec, root, known, list_folder(found.path, known), notify).load()
    if known is None:
        catalogue.check(spec.name, root)
    ...
