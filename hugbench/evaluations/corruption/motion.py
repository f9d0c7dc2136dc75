"""Motion blur, and the streaks that snow is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hugbench.evaluations.corruption.pixels import precise
from hugbench.evaluations.corruption.randomness import Draws

BITS = 22
ONE = 1 << BITS


def motion_blur(images: Tensor, constants: Sequence[float], draws: Draws) -> Tensor:
    """Images blurred along a line at an angle in [-45, 45) degrees (arXiv 1903.12261).

    Draws `uniform()`: the angle, (angle + 45) / 90.

    Args:
        images: uint8 (B, C, H, W).
        constants: radius and sigma of the streak, in pixels.
        draws: one source of numbers per image.

    Returns:
        uint8 (B, C, H, W).
    """
    radius, sigma = constants
    return streak(images, radius, sigma, draws.uniform().to(precise(images.device)) * 90 - 45)


def streak(images: Tensor, radius: float, sigma: float, angles: Tensor) -> Tensor:
    """ImageMagick's MotionBlurImage: the weighted mean of the pixels on a ray from each pixel.

    The ray has 2 ceil(radius) + 1 pixels. The i-th, i = 0, 1, ..., lies ceil(i cos(angle) - 1/2)
    columns to the right and ceil(i sin(angle) - 1/2) rows below and weighs exp(-i² / (2 sigma²)),
    divided by the sum of all; beyond the border the edge pixels are repeated (MagickCore/effect.c,
    `GetMotionBlurKernel` and `MotionBlurImage`; gem.c, `GetOptimalKernelWidth1D`). The result is
    rounded to the nearest number, as ImageMagick's quantums are when they are written in 8 bits. The
    weights are multiples of 2^-22 and the sums integers, so they depend on neither batch nor device.

    Args:
        images: uint8 (B, C, H, W).
        radius: > 0, in pixels.
        sigma: > 0, in pixels.
        angles: (B,), in degrees.

    Returns:
        uint8 (B, C, H, W).
    """
    weights = _weights(2 * math.ceil(radius) + 1, sigma)
    steps = torch.arange(len(weights), device=images.device)
    radians = torch.deg2rad(angles)[:, None]
    right = torch.ceil(steps * torch.cos(radians) - 0.5).long()
    below = torch.ceil(steps * torch.sin(radians) - 0.5).long()
    margin = len(weights) - 1
    padded = _padded(images, margin)
    windows = _windows(padded, images.shape[-2:])
    starts = (below + margin) * padded.shape[-1] + right + margin
    everyone = torch.arange(len(images), device=images.device)
    total = torch.full(images.shape, ONE // 2, dtype=torch.int32, device=images.device)
    for step, weight in enumerate(weights):
        total.add_(windows[everyone, starts[:, step]], alpha=weight)
    return total.bitwise_right_shift_(BITS).to(torch.uint8)


def _weights(length: int, sigma: float) -> list[int]:
    """Half a Gaussian, in parts of ONE that sum to it; the first takes what rounding leaves."""
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(length)]
    parts = [round(ONE * weight / sum(weights)) for weight in weights]
    return [parts[0] + ONE - sum(parts), *parts[1:]]


def _padded(images: Tensor, margin: int) -> Tensor:
    """int32 (B, C, H + 2 margin, W + 2 margin): the edge pixels repeated beyond the border."""
    for axis in (2, 3):
        length = images.shape[axis]
        places = torch.arange(-margin, length + margin, device=images.device).clamp_(0, length - 1)
        images = images.index_select(axis, places)
    return images.to(torch.int32).contiguous()


def _windows(padded: Tensor, shape: torch.Size) -> Tensor:
    """The view (B, start, C, H, W) of windows by where in the flattened padded image they start."""
    height, width = shape
    image, channel, row, _ = padded.stride()
    count = (padded.shape[-2] - height) * row + padded.shape[-1] - width + 1
    size = (len(padded), count, padded.shape[1], height, width)
    return padded.as_strided(size, (image, 1, channel, row, 1))
