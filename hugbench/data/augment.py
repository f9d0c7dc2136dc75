"""Augmentation of uint8 batches on their device: crop, flip, cutout, each image by its own draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from hugbench.suite.schema import Augment


@dataclass(frozen=True)
class Part:
    """Which images of a batch are at hand, where several processes share it.

    Attributes:
        count: images of the whole batch.
        rows: the places in it of those at hand, int64 (B,), on their device.
    """

    count: int
    rows: Tensor


@dataclass(frozen=True)
class Draws:
    """Random numbers for the images of a batch: drawn for all of it, kept for those at hand.

    Attributes:
        generator: on the device of the images.
        count: images of the whole batch.
        rows: see `Part`; None where all are at hand.
    """

    generator: torch.Generator
    count: int
    rows: Tensor | None = None

    def integers(self, high: int, *lead: int) -> Tensor:
        """Uniform in {0, ..., high - 1}, int64 (*lead, B, 1)."""
        shape = (*lead, self.count, 1)
        drawn = torch.randint(high, shape, generator=self.generator, device=self.generator.device)
        return drawn if self.rows is None else drawn.index_select(-2, self.rows)


def augment(images: Tensor, spec: Augment, generator: torch.Generator, part: Part | None = None) -> Tensor:
    """Augmented images; those given are left as they are.

    Draws, in this order and only for what `spec` switches on, each one for all images at once:
    the crop's rows then columns, in {0, ..., 2 crop}; the flip's coins; the cutout's rows then
    columns. Applied in the same order:

    - crop: pad by `crop` black pixels, cut out the image's own size at random.
    - flip: mirror left-right with probability 1/2.
    - cutout: black out a square of `cutout` pixels a side whose centre is uniform over the image
      and which is clipped at the borders (T. DeVries, G. W. Taylor, Improved Regularization of
      Convolutional Neural Networks with Cutout, arXiv 1708.04552, section 3). Its first row is
      centre - cutout // 2.

    Args:
        images: uint8 (B, C, H, W).
        spec: what to do.
        generator: on the device of `images`.
        part: where `images` are but a part of a batch: each gets the draws that it would get in the
            whole of it. None: they are the whole.

    Returns:
        uint8 (B, C, H, W).
    """
    draws = Draws(generator, len(images)) if part is None else Draws(generator, part.count, part.rows)
    if spec.crop or spec.flip:
        images = _crop_and_flip(images, spec, draws)
    if spec.cutout:
        images = images * ~_square(images, spec.cutout, draws)
    return images


def to_float(images: Tensor) -> Tensor:
    """uint8 in [0, 255] as float32 in [0, 1]."""
    return images.float().div_(255)


def _crop_and_flip(images: Tensor, spec: Augment, draws: Draws) -> Tensor:
    """One gather: every pixel of the result is fetched from where crop and flip say."""
    count, channels, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(count, height)
    columns = torch.arange(width, device=device).expand(count, width)
    if spec.crop:
        tops, lefts = draws.integers(2 * spec.crop + 1, 2)
    if spec.flip:
        coins = draws.integers(2)
        columns = torch.where(coins.bool(), width - 1 - columns, columns)
    if spec.crop:
        images = pad(images, (spec.crop,) * 4)
        rows, columns = rows + tops, columns + lefts
    places = rows[:, :, None] * images.shape[3] + columns[:, None, :]
    places = places.view(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view(count, channels, height, width)


def _square(images: Tensor, side: int, draws: Draws) -> Tensor:
    """Where the cutout is, bool (B, 1, H, W)."""
    height, width = images.shape[2:]
    inside = []
    for length in (height, width):
        first = draws.integers(length) - side // 2
        places = torch.arange(length, device=images.device)
        inside.append((places >= first) & (places < first + side))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]
