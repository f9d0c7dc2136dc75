"""One pass over a data set: its checksum, and what mean and deviation of any subset follow from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from hugbench.data.images import Images

SMALLEST_STD = 1 / 255
_VALUES = 1 << 22


def measure(train: Images, test: Images) -> tuple[Tensor, str]:
    """Sums over the pixels of every training image, and the checksum of all images and labels.

    Returns:
        int64 (N, 2, C), the sum and the sum of squares of the uint8 values of each channel; and
        sha256 as hex over, for train and then test, the text of the shape (N, C, H, W), the
        pixels in that order, and the labels as little-endian int64.
    """
    digest = hashlib.sha256()
    sums, _ = (_pass(images, digest.update) for images in (train, test))
    return sums, digest.hexdigest()


def mean_and_std(sums: Tensor, pixels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, in [0, 1].

    Args:
        sums: int64 (N, 2, C) of the images in question, see `measure`.
        pixels: of one channel of one image.

    Returns:
        The mean and the population's standard deviation, exact but for the last rounding; the
        deviation is at least 1/255, so that a constant channel divides by no zero.
    """
    count = len(sums) * pixels
    totals, squares = sums.sum(0).tolist()
    variances = [count * square - total**2 for total, square in zip(totals, squares, strict=True)]
    means = tuple(total / count / 255 for total in totals)
    return means, tuple(max(math.sqrt(variance) / count / 255, SMALLEST_STD) for variance in variances)


def _pass(images: Images, update: Callable[[memoryview | bytes], object]) -> Tensor:
    update(repr((len(images), *images.shape)).encode())
    sums = [torch.zeros(0, 2, images.shape[0], dtype=torch.int64)]
    batch_size = max(1, _VALUES // math.prod(images.shape))
    for batch, _, _ in images.batches(batch_size, torch.device("cpu")):
        update(batch.numpy().data)
        values = batch.flatten(2).double()  # sums of squares stay below 2^53
        sums.append(torch.stack([values.sum(-1), values.square_().sum(-1)], 1).long())
    update(images.targets.numpy().astype("<i8").data)
    return torch.cat(sums)
