"""Which images: class-balanced and long-tailed subsets, stratified validation splits.

Everything is drawn from generators of its own, never from the run's seed, so that all runs of a
suite see the same images.
"""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor

from hugbench.data.longtail import kept_counts
from hugbench.errors import UserError
from hugbench.seeding import generator
from hugbench.suite.schema import LongTail


def balanced(targets: Tensor, classes: tuple[str, ...], count: int | None, seed: int, part: str) -> Tensor:
    """At most `count` images, as many of each class as can be.

    A class with too few images gives all it has and the others make up for it; what cannot be
    divided evenly goes to the first classes. For one seed a smaller subset lies within a larger.

    Args:
        targets: labels int64 (N,).
        classes: names, C of them.
        count: how many; None for all.
        seed: draws which images of a class.
        part: `train` or `test`, the second part of the name of the random axis.

    Returns:
        Indices int64 (min(N, count),), rising.

    Raises:
        UserError: fewer than one for each class.
    """
    if count is None:
        return torch.arange(len(targets))
    if count < len(classes):
        raise UserError(
            "too few images",
            key=f"dataset.max_{part}",
            found=count,
            expected=f"at least {len(classes)}, one for each class",
        )
    available = torch.bincount(targets, minlength=len(classes))
    return _choose(targets, _quotas(available, count), seed, "subset", part)


def long_tailed(
    targets: Tensor, classes: tuple[str, ...], tail: LongTail, max_train: int | None = None
) -> Tensor:
    """A subset whose class sizes fall off as `tail` says.

    For one seed and class order, a class's images in a steeper tail are among those in a flatter
    one. The images and the order of the classes are drawn independently.

    Args:
        targets: labels int64 (N,).
        classes: names, C of them.
        tail: imbalance factor, profile, order of the classes, seed.
        max_train: at most this many images; the tail as a whole shrinks.

    Returns:
        Indices int64, rising.

    Raises:
        UserError: a class would have no image.
    """
    available = torch.bincount(targets, minlength=len(classes))
    counts = torch.tensor(kept_counts(int(available.min()), len(classes), tail, max_train))
    order = torch.arange(len(classes))
    if tail.class_order == "seeded":
        order = torch.randperm(len(classes), generator=generator(tail.seed, "long tail", "classes"))
    quotas = torch.empty_like(counts)
    quotas[order] = counts
    return _choose(targets, quotas, tail.seed, "long tail", "images")


def hold_out(targets: Tensor, classes: tuple[str, ...], fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split a fraction of each class off the training images, rounded to whole images.

    It is taken from the full training set, before any subset is: so runs on subsets of different
    size are validated on the same images, and no image is trained on in one run and validated on
    in another.

    Args:
        targets: labels int64 (N,).
        classes: names, C of them.
        fraction: in [0, 1).
        seed: draws which images.

    Returns:
        Indices int64 of what is left and of what is held out, both rising.

    Raises:
        UserError: nothing would be left of a class, or nothing would be held out.
    """
    available = torch.bincount(targets, minlength=len(classes))
    quotas = torch.tensor([round(fraction * n) for n in available.tolist()])
    if (emptied := torch.nonzero(quotas >= available).flatten()).numel():
        name = classes[int(emptied[0])]
        raise UserError(
            f"class {name!r} would have no training images",
            key="dataset.validation",
            found=fraction,
            expected=f"less: {int(available[emptied[0]])} images are all it has",
        )
    if fraction and not quotas.any():
        raise UserError(
            "no image would be held out",
            key="dataset.validation",
            found=fraction,
            expected=f"0, or more: the largest class has {int(available.max())} images",
        )
    held = _choose(targets, quotas, seed, "validation")
    left = torch.ones(len(targets), dtype=torch.bool)
    left[held] = False
    return torch.nonzero(left).flatten(), held


def _quotas(available: Tensor, count: int) -> Tensor:
    """How many of each class, as even as `available` (C,) allows; their sum is min(count, N)."""
    levels = range(int(available.max()) + 1)
    level = bisect_right(levels, count, key=lambda level: int(available.clamp(max=level).sum())) - 1
    quotas = available.clamp(max=level)
    roomy = torch.nonzero(available > level).flatten()
    quotas[roomy[: count - int(quotas.sum())]] += 1
    return quotas


def _choose(targets: Tensor, quotas: Tensor, seed: int, *axis: str) -> Tensor:
    """The first `quotas[c]` images of each class c in a random order, as rising indices."""
    order = torch.randperm(len(targets), generator=generator(seed, *axis))
    by_class = order[torch.argsort(targets[order], stable=True)]
    sizes = torch.bincount(targets, minlength=len(quotas))
    rank = torch.arange(len(targets)) - (sizes.cumsum(0) - sizes)[targets[by_class]]
    return by_class[rank < quotas[targets[by_class]]].sort().values
