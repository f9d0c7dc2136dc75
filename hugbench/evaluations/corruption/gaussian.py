"""Gaussian filter over the rows and columns of a batch, as SciPy's does it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def gaussian_filter(x: Tensor, sigma: float) -> Tensor:
    """x convolved with a Gaussian along its last two axes, edge pixels repeated beyond the border.

    The sums are those of `scipy.ndimage.gaussian_filter(mode="nearest")` in its order, so float64 in
    gives its result bit for bit: the caller may cut to uint8 and still agree with it.

    Args:
        x: floating, (..., H, W).
        sigma: standard deviation in pixels, > 0; the kernel ends at four of them.
    """
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return x
    places = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * places**2)
    weights /= weights.sum()
    half = [float(weight) for weight in weights[: radius + 1]]
    return _along(_along(x, half, -2), half, -1)


def _along(x: Tensor, half: list[float], axis: int) -> Tensor:
    """Correlation along one axis with the symmetric kernel whose first half, centre included, is given."""
    radius, length = len(half) - 1, x.shape[axis]
    places = torch.arange(-radius, length + radius, device=x.device).clamp_(0, length - 1)
    padded = x.index_select(axis, places)
    total = padded.narrow(axis, radius, length) * half[radius]
    for tap in range(radius):
        pair = padded.narrow(axis, tap, length) + padded.narrow(axis, 2 * radius - tap, length)
        total += pair.mul_(half[tap])
    return total
