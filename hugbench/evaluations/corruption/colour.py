"""Light and colour: brightness, contrast, saturation; and one-channel images as grey ones.

A greyscale image is corrupted as the RGB image with three channels like it. Where that comes out in
colour (saturation, spatter), its luma is taken, 0.299 R + 0.587 G + 0.114 B rounded as Pillow does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hugbench.evaluations.corruption.constants import Row
from hugbench.evaluations.corruption.pixels import precise, quotient, to_bytes, to_unit
from hugbench.evaluations.corruption.randomness import Draws

ORDER = ((0, 1, 2), (3, 0, 2), (2, 0, 1), (2, 3, 0), (1, 2, 0), (0, 2, 3))
"""Which of value, rising, lowest and falling red, green and blue are in each sixth of the circle of hues."""


def contrast(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """(x − mean) · factor + mean, the mean of an image's channel."""
    (factor,) = constants
    values = images.to(precise(images.device))
    means = quotient(values.sum(dim=(2, 3), keepdim=True), 255 * values[0, 0].numel())  # exact sums
    return to_bytes(quotient(values, 255).sub_(means).mul_(factor).add_(means))


def brightness(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """The value in hue, saturation and value grows by `more`, up to 1."""

    def brighter(rgb: Tensor) -> Tensor:
        hue, saturation, value = to_hsv(to_unit(rgb))
        return to_bytes(to_rgb(hue, saturation, (value + constants[0]).clamp_(0, 1)))

    return in_colour(brighter, images)


def saturate(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """The saturation becomes saturation · factor + more, up to 1; grey, which has hue 0, becomes red."""
    factor, more = constants

    def saturated(rgb: Tensor) -> Tensor:
        hue, saturation, value = to_hsv(to_unit(rgb))
        return to_bytes(to_rgb(hue, (saturation * factor + more).clamp_(0, 1), value))

    return in_colour(saturated, images)


def in_colour(corruption: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What a corruption of RGB images does to images of one or three channels, uint8."""
    if images.shape[1] == 3:
        return corruption(images)
    return luma(corruption(images.expand(-1, 3, -1, -1)))


def luma(images: Tensor) -> Tensor:
    """The luma of RGB images, uint8 (B, 3, H, W) to (B, 1, H, W)."""
    red, green, blue = images.to(torch.int32).unbind(dim=1)
    weighted = red * 19595 + green * 38470 + blue * 7471 + 0x8000
    return weighted.bitwise_right_shift(16).to(torch.uint8).unsqueeze(1)


def to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue (0 to 1), saturation and value, each (B, H, W), of (B, 3, H, W) in [0, 1].

    Operation by operation as scikit-image, whose rounding then decides on which side of a level a pixel
    falls.
    """
    red, green, blue = rgb.unbind(dim=1)
    value = rgb.amax(dim=1)
    spread = value - rgb.amin(dim=1)
    grey = spread == 0
    safe = spread.masked_fill(grey, 1)
    hue = torch.where(red == value, (green - blue) / safe, 2 + (blue - red) / safe)
    hue = torch.where(green == value, 2 + (blue - red) / safe, hue)
    hue = torch.where(blue == value, 4 + (red - green) / safe, hue)
    hue = quotient(hue, 6).remainder(1).masked_fill_(grey, 0)
    return hue, (spread / value).masked_fill_(grey, 0), value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of `to_hsv`: (B, 3, H, W) in [0, 1]."""
    turned = hue * 6
    sixth = turned.floor()
    part = turned - sixth
    lowest = value * (1 - saturation)
    falling = value * (1 - part * saturation)
    rising = value * (1 - (1 - part) * saturation)
    order = torch.tensor(ORDER, device=hue.device)[sixth.long() % 6].movedim(-1, 1)
    return torch.stack((value, rising, lowest, falling), dim=1).gather(1, order)
