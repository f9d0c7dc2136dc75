"""Motion blur, and the streaks that snow is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from hugbench.evaluations.corruption.pixels import precise
from hugbench.evaluations.corruption.randomness import Draws


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
    rounded to the nearest number, as ImageMagick's quantums are when they are written in 8 bits.

    Args:
        images: uint8 (B, C, H, W).
        radius: > 0, in pixels.
        sigma: > 0, in pixels.
        angles: (B,), in degrees.

    Returns:
        uint8 (B, C, H, W).
    """
    length = 2 * math.ceil(radius) + 1
    steps = torch.arange(length, device=images.device)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = (weights / weights.sum()).tolist()
    radians = torch.deg2rad(angles)[:, None]
    right = torch.ceil(steps * torch.cos(radians) - 0.5).long()
    below = torch.ceil(steps * torch.sin(radians) - 0.5).long()
    margin = length - 1
    padded = pad(images.float(), (margin,) * 4, mode="replicate")
    windows = _windows(padded, images.shape[-2:])
    starts = (below + margin) * padded.shape[-1] + right + margin
    everyone = torch.arange(len(images), device=images.device)
    total = torch.zeros(images.shape, device=images.device)
    for step, weight in enumerate(weights):
        total.add_(windows[everyone, starts[:, step]], alpha=weight)
    return total.add_(0.5).to(torch.uint8)


def _windows(padded: Tensor, shape: torch.Size) -> Tensor:
    """The view (B, start, C, H, W) of windows by where in the flattened padded image they start."""
    height, width = shape
    image, channel, row, _ = padded.stride()
    count = (padded.shape[-2] - height) * row + padded.shape[-1] - width + 1
    size = (len(padded), count, padded.shape[1], height, width)
    return padded.as_strided(size, (image, 1, channel, row, 1))
