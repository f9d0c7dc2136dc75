"""One pass over a data set: its checksum, and what mean and deviation of any subset follow from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from hugbench.data.images import Images

SMALLEST_STD = 1 / 255
_VALUES = 1 << 20


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


def sums_of(images: Images) -> Tensor:
    """The sums that `measure` gives, of some images alone."""
    return _pass(images, lambda content: None)


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
    depth, height, width = images.shape
    batch_size = max(1, _VALUES // math.prod(images.shape))
    buffer = torch.empty(batch_size, depth, height * width, dtype=torch.float64)
    sums = torch.empty(len(images), 2, depth, dtype=torch.int64)
    for batch, _, indices in images.batches(batch_size, torch.device("cpu")):
        update(batch.numpy().data)
        values = buffer[: len(batch)].copy_(batch.flatten(2))
        sums[indices, 0] = values.sum(-1).long()
        sums[indices, 1] = values.square_().sum(-1).long()  # exact: they stay below 2^53
    update(images.targets.numpy().astype("<i8").data)
    return sums
