"""Spatter: drops of water or splashes of mud on the lens."""

from __future__ import annotations

import torch
from torch import Tensor

from hugbench.evaluations.corruption.colour import in_colour
from hugbench.evaluations.corruption.constants import Row
from hugbench.evaluations.corruption.edges import DISTANCE_BITS, canny, distances, equalised
from hugbench.evaluations.corruption.filters import neighbours
from hugbench.evaluations.corruption.gaussian import gaussian_filter
from hugbench.evaluations.corruption.pixels import precise, to_bytes, to_unit
from hugbench.evaluations.corruption.randomness import Draws

WATER = (175, 238, 238)
MUD = (63, 42, 20)
RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
BOX = ((1, 1, 1), (1, 1, 1), (1, 1, 1))
FARTHEST = 20


def spatter(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """A smoothed normal field is liquid where it exceeds `threshold`.

    Water lies on the image with a weight up to `water`, largest at the image's strongest light, which
    falls on the drops from one side; an image without a drop stays as it is (the reference divides by
    zero there). Mud covers what its own smoothing by `mud` leaves at 0.8 or more.
    """
    mean, deviation, sigma, threshold, water, mud = constants
    field = mean + deviation * draws.normal(*images.shape[-2:]).to(precise(images.device))
    liquid = gaussian_filter(field, sigma)
    if mud:
        wet = gaussian_filter((liquid > threshold).to(field.dtype), mud)
        return in_colour(lambda rgb: _covered(rgb, wet.masked_fill(wet < 0.8, 0)), images)
    drops = _lit((liquid.masked_fill(liquid < threshold, 0) * 255).to(torch.uint8))
    return in_colour(lambda rgb: to_bytes(to_unit(rgb) + water * _coloured(drops, WATER)), images)


def _covered(rgb: Tensor, mud: Tensor) -> Tensor:
    return to_bytes(to_unit(rgb) * (1 - mud.unsqueeze(1)) + _coloured(mud, MUD))


def _coloured(weights: Tensor, colour: tuple[int, ...]) -> Tensor:
    """Weights (B, H, W) times a colour in levels, (B, 3, H, W)."""
    return weights.unsqueeze(1) * to_unit(torch.tensor(colour, device=weights.device))[:, None, None]


def _lit(liquid: Tensor) -> Tensor:
    """How bright drops are, in [0, 1], (B, H, W): by depth, height above the rim and slope.

    Args:
        liquid: uint8 (B, H, W), its depth, 0 where there is none.
    """
    height = distances(canny(liquid, 50, 150), FARTHEST)
    smoothed = neighbours(height, BOX).div(9 << DISTANCE_BITS, rounding_mode="floor")
    relief = neighbours(equalised(smoothed.to(torch.uint8)), RELIEF).clamp_(0, 255)
    light = (2 * neighbours(relief, BOX) + 9).div(18, rounding_mode="floor")  # to the nearest level
    bright = (liquid.to(torch.int32) * light).to(precise(liquid.device))
    return bright / bright.amax(dim=(1, 2), keepdim=True).clamp_(min=1)
