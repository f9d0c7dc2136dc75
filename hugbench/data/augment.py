"""Augmentation of uint8 batches on their device: crop, flip, cutout, each image by its own draw."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from hugbench.suite.schema import Augment


def augment(images: Tensor, spec: Augment, generator: torch.Generator) -> Tensor:
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

    Returns:
        uint8 (B, C, H, W).
    """
    if spec.crop or spec.flip:
        images = _crop_and_flip(images, spec, generator)
    if spec.cutout:
        images = images * ~_square(images, spec.cutout, generator)
    return images


def to_float(images: Tensor) -> Tensor:
    """uint8 in [0, 255] as float32 in [0, 1]."""
    return images.float().div_(255)


def _crop_and_flip(images: Tensor, spec: Augment, generator: torch.Generator) -> Tensor:
    """One gather: every pixel of the result is fetched from where crop and flip say."""
    count, channels, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(count, height)
    columns = torch.arange(width, device=device).expand(count, width)
    if spec.crop:
        tops, lefts = _integers((2, count, 1), 2 * spec.crop + 1, generator, device)
    if spec.flip:
        coins = _integers((count, 1), 2, generator, device)
        columns = torch.where(coins.bool(), width - 1 - columns, columns)
    if spec.crop:
        images = pad(images, (spec.crop,) * 4)
        rows, columns = rows + tops, columns + lefts
    places = rows[:, :, None] * images.shape[3] + columns[:, None, :]
    places = places.view(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view(count, channels, height, width)


def _square(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Where the cutout is, bool (B, 1, H, W)."""
    count, _, height, width = images.shape
    inside = []
    for length in (height, width):
        first = _integers((count, 1), length, generator, images.device) - side // 2
        places = torch.arange(length, device=images.device)
        inside.append((places >= first) & (places < first + side))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _integers(shape: tuple[int, ...], high: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randint(high, shape, generator=generator, device=device)
