"""From the name of a data set to the images of a run: found or downloaded, decoded once, split."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hugbench.data import catalogue, published
from hugbench.data.cache import Entry, cached
from hugbench.data.folders import Folder
from hugbench.data.images import Dataset
from hugbench.data.known import KNOWN, Known
from hugbench.data.listing import list_folder
from hugbench.data.measure import mean_and_std
from hugbench.data.splits import balanced, hold_out, long_tailed
from hugbench.data.whole import Whole, as_asked, kept, key, place, resident
from hugbench.errors import ChangedInUse, UserError
from hugbench.seeding import generator
from hugbench.suite.schema import DatasetSpec


def load(spec: DatasetSpec, root: Path, *, notify: Callable[[str], None]) -> Dataset:
    """The data set of a run.

    The validation images are held out first, balanced as the set is; then `max_train` cuts what is
    left, or `long_tail`, within `max_train` if both are given. Mean and deviation are of the images
    that remain to train on, or of `survey` of these. The test images keep their balance. Resident or
    streamed, the same spec gives the same bits.

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
    sums = whole.sums(train[_surveyed(len(train), spec.survey)])
    mean, std = mean_and_std(sums, math.prod(whole.train.shape[1:]))
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


_loaded: dict[tuple[DatasetSpec, Path], Dataset] = {}


def loaded(spec: DatasetSpec, root: Path, *, notify: Callable[[str], None]) -> Dataset:
    """What `load` gives: once per process, and again where the file that it is mapped from was changed."""
    of = spec, root
    if of in _loaded:
        try:
            _loaded[of].train.check()
        except ChangedInUse:
            del _loaded[of]
    if of not in _loaded:
        _loaded[of] = load(spec, root, notify=notify)
    return _loaded[of]


def _subset(targets: Tensor, classes: tuple[str, ...], spec: DatasetSpec) -> Tensor:
    """Which of the images with these labels are trained on."""
    if spec.long_tail is None:
        return balanced(targets, classes, spec.max_train, spec.subset_seed, "train")
    return long_tailed(targets, classes, spec.long_tail, spec.max_train)


def _surveyed(count: int, survey: int | None) -> Tensor:
    """Which of `count` images are measured, rising; a smaller survey's are among a larger one's."""
    if survey is None or survey >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=generator(0, "survey"))[:survey].sort().values


def _whole(spec: DatasetSpec, root: Path, notify: Callable[[str], None]) -> Whole:
    known, found = KNOWN.get(spec.name), catalogue.find(spec.name, root)
    if found is not None and found.form == "folder" and found.path is not None:
        return Folder(spec, root, list_folder(found.path, known), notify).whole()
    if known is None:
        raise catalogue.unknown(spec.name, root)
    if not known.embedded and known.torchvision is None:
        raise UserError(
            f"{known.name} is not here, and cannot be downloaded without an account at its source",
            where=root,
            expected=f"images in {root / known.name}/{{train,val}}/CLASS",
        )
    if spec.resident == "never":
        raise UserError(
            "only images in folders can be streamed",
            key="dataset.resident",
            found=spec.resident,
            expected=f"auto or always, or images in {root / spec.name}/{{train,test}}/CLASS",
        )
    if found is None:
        published.download(known, root, notify)
    return resident(_published(spec, root, known, notify), known.classes, spec)


def _published(spec: DatasetSpec, root: Path, known: Known, notify: Callable[[str], None]) -> Entry:
    if known.embedded:
        return kept(*(as_asked(arrays, spec) for arrays in published.digits()))
    return cached(
        place(root, spec),
        key(published.fingerprint(known, root), spec),
        lambda: kept(*(as_asked(arrays, spec) for arrays in published.read(known, root))),
        notify,
    )
