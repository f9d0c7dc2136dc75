"""Snow and fog."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hugbench.evaluations.corruption.motion import streak
from hugbench.evaluations.corruption.pixels import precise, quotient, to_bytes, to_unit
from hugbench.evaluations.corruption.plasma import plasma, plasma_side
from hugbench.evaluations.corruption.randomness import Draws
from hugbench.evaluations.corruption.zoom import zoom_matrix


def fog(images: Tensor, constants: Sequence[float], draws: Draws) -> Tensor:
    """Images behind a plasma of fog, dimmed so that their brightest value stays (arXiv 1903.12261).

    Draws `uniform(side² - 1)` for the plasma, side the least power of two that covers the image.

    Args:
        images: uint8 (B, C, H, W).
        constants: thickness of the fog, decay of the plasma.
        draws: one source of numbers per image.

    Returns:
        uint8 (B, C, H, W).
    """
    thickness, decay = constants
    height, width = images.shape[-2:]
    side = plasma_side(height, width)
    clouds = plasma(draws.uniform(side * side - 1).to(precise(images.device)), decay)
    x = to_unit(images)
    brightest = x.amax((1, 2, 3), keepdim=True)
    x += (thickness * clouds[:, :height, :width])[:, None]
    return to_bytes(x * brightest / (brightest + thickness))


def snow(images: Tensor, constants: Sequence[float], draws: Draws) -> Tensor:
    """Images whitened and behind flakes that fall at a slant (arXiv 1903.12261).

    Flakes are enlarged Gaussian noise above a threshold, blurred along their fall, laid over the
    image twice, upright and turned by 180 degrees. Draws `normal(H, W)`, then `uniform()` for the
    angle, (angle + 135) / 90 in degrees.

    Args:
        images: uint8 (B, C, H, W).
        constants: mean and deviation of the noise, zoom, threshold, radius and sigma of the streaks,
            share of the image that is kept.
        draws: one source of numbers per image.

    Returns:
        uint8 (B, C, H, W).
    """
    mean, deviation, factor, threshold, radius, sigma, kept = constants
    height, width = images.shape[-2:]
    kind = precise(images.device)
    down, across = (
        torch.from_numpy(zoom_matrix(length, factor)).to(images.device, kind) for length in (height, width)
    )
    flakes = down @ (mean + deviation * draws.normal(height, width).to(kind)) @ across.mT
    flakes = torch.where(flakes < threshold, 0, flakes)
    angles = draws.uniform().to(kind) * 90 - 135
    layer = to_unit(streak(to_bytes(flakes)[:, None], radius, sigma, angles)).float()
    x = quotient(images.float(), 255)
    x = kept * x + (1 - kept) * torch.maximum(x, _grey(x) * 1.5 + 0.5)
    return to_bytes(x + layer + layer.rot90(2, (-2, -1)))


def _grey(x: Tensor) -> Tensor:
    """The luminance (ITU-R BT.601) of images (B, C, H, W) as (B, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    return red * 0.299 + green * 0.587 + blue * 0.114
