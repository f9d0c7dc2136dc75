"""Long-tailed training sets: how many images each class keeps, and which classes are many, medium, few.

No torch: a suite is checked with this before anything is loaded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from hugbench.errors import UserError
from hugbench.suite.schema import LongTail

MANY_ABOVE = 100
FEW_BELOW = 20


def class_counts(largest: int, classes: int, tail: LongTail) -> tuple[int, ...]:
    """Images of each class, from the most to the least frequent.

    With f = 1/imbalance_factor: exponential has int(largest · f^(c/(classes − 1))) for c from 0;
    step has `largest` for the first half of the classes (rounded down) and int(largest · f) for
    the rest. In floating point and cut to whole numbers as there, so that the counts are those of
    the papers, image by image.

    Args:
        largest: images of the most frequent class.
        classes: at least 2.
        tail: imbalance_factor and profile.

    Source:
        Cao et al., LDAM, NeurIPS 2019, arXiv 1906.07413, and its code (kaidic/LDAM-DRW,
        `imbalance_cifar.py`); the exponential profile is that of Cui et al., CVPR 2019,
        arXiv 1901.05555.
    """
    f = 1 / tail.imbalance_factor
    if tail.profile == "step":
        return (largest,) * (classes // 2) + (int(largest * f),) * (classes - classes // 2)
    return tuple(int(largest * f ** (c / (classes - 1))) for c in range(classes))


def kept_counts(
    available: int,
    classes: int,
    tail: LongTail,
    max_train: int | None = None,
    *,
    where: str | Path | None = None,
) -> tuple[int, ...]:
    """`class_counts` with the most frequent class as large as `available` and `max_train` allow.

    Args:
        available: images of the smallest class. The most frequent class gets no more, so that the
            tail has the imbalance factor it is asked for, whichever class comes first.
        classes: at least 2.
        tail: the profile.
        max_train: the most frequent class shrinks until all classes together have no more images.
        where: what an error points to.

    Raises:
        UserError: a class would have no image.
    """
    largest = available
    if max_train is not None:
        sizes = range(available + 1)
        largest = bisect_right(sizes, max_train, key=lambda n: sum(class_counts(n, classes, tail))) - 1
    counts = class_counts(largest, classes, tail)
    if counts[-1]:
        return counts
    whole = range(1, available + 1)
    enough = next((n for n in whole if class_counts(n, classes, tail)[-1]), None)
    if enough is None:
        raise UserError(
            "the rarest class would have no training image",
            where=where,
            key="dataset.long_tail.imbalance_factor",
            found=tail.imbalance_factor,
            expected=f"less than {available}, the images that the smallest class can give",
        )
    raise UserError(
        "the rarest class would have no training image",
        where=where,
        key="dataset.max_train",
        found=max_train,
        expected=f"at least {sum(class_counts(enough, classes, tail))}, "
        f"or a long_tail.imbalance_factor below {tail.imbalance_factor:g}",
    )


def fitting(tail: LongTail, classes: int, max_train: int) -> LongTail:
    """The same tail, its imbalance factor lowered so far that `max_train` images leave no class empty.

    It stays as it is where that suffices, and is 1 where nothing does.
    """
    factor = 1.0
    while factor < tail.imbalance_factor:
        steeper = tail.model_copy(update={"imbalance_factor": factor + 1})
        if sum(class_counts(int(factor) + 2, classes, steeper)) > max_train:
            break
        factor += 1
    return tail.model_copy(update={"imbalance_factor": min(factor, tail.imbalance_factor)})


def by_frequency(counts: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The labels of the classes with many, medium and few training images; without groups that are empty.

    many: more than 100. medium: 20 to 100. few: fewer than 20.

    Source:
        Liu, Miao, Zhan, Wang, Gong, Yu, Large-Scale Long-Tailed Recognition in an Open World, CVPR
        2019, arXiv 1904.05160.
    """
    groups: dict[str, list[int]] = {"many": [], "medium": [], "few": []}
    for label, count in enumerate(counts):
        groups["many" if count > MANY_ABOVE else "few" if count < FEW_BELOW else "medium"].append(label)
    return {name: tuple(labels) for name, labels in groups.items() if labels}
