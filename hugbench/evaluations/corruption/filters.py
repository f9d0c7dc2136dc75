"""Filters whose sums are exact, so that no order of summing them up can change a pixel.

Weights are rounded to multiples of a power of two that integers (or float64, which holds integers up to
2^53) carry through all products and sums. So a pixel is the same bit for bit in every batch and on
every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hugbench.evaluations.corruption.pixels import precise

FIELD_BITS = 16  # of values below 16 and of their weights: 4 + 3 · 16 < 53
STENCIL_BITS = 22  # of weights in a stencil: 8 + 22 < 31

Border = Literal["reflect", "mirror"]
"""Beyond an image's border, as scipy.ndimage names it: cba|abc or dcb|abc."""


def smooth(values: Tensor, sigma: float, truncate: float) -> Tensor:
    """Values (..., H, W) under scipy.ndimage's Gaussian filter with the border `reflect`.

    Two products with matrices, so the width of the filter costs nothing.

    Args:
        values: below 16 in size; they are rounded to multiples of 2^-FIELD_BITS.
        sigma: the standard deviation, in pixels; 0 changes nothing.
        truncate: the filter's radius over sigma.
    """
    kind = precise(values.device)
    rows, columns = (
        _gaussian_matrix(size, sigma, truncate).to(values.device, kind) for size in values.shape[-2:]
    )
    grid = values.to(kind).mul(1 << FIELD_BITS).round_().mul_(2.0**-FIELD_BITS)
    return rows @ grid @ columns.mT


def stencil(images: Tensor, weights: np.ndarray) -> Tensor:
    """Σ weights · neighbours, mirrored at the border (dcb|abc), cut to 255 and truncated.

    Equal weights are added up before they are multiplied. Sums get 2^-10 of a level on top, which is more
    than rounding takes from them where they come out whole.

    Args:
        images: uint8 (B, C, H, W).
        weights: (K, K), K odd, at least 0, with a sum of about 1 (below 1.9).

    Returns:
        uint8 (B, C, H, W).
    """
    height, width = images.shape[-2:]
    units = _units(weights, STENCIL_BITS)
    middle = len(units) // 2
    reach = int(np.abs(np.argwhere(units) - middle).max())
    units = units[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    around = _pad(images, reach).to(torch.int32)
    total = torch.full_like(around[..., :height, :width], 1 << (STENCIL_BITS - 10))
    for unit in np.unique(units[units > 0]):
        part = torch.zeros_like(total)
        for top, left in np.argwhere(units == unit):
            part += around[..., top : top + height, left : left + width]
        total += part.mul_(int(unit))
    return total.bitwise_right_shift_(STENCIL_BITS).clamp_(max=255).to(torch.uint8)


def neighbours(values: Tensor, weights: Sequence[Sequence[int]]) -> Tensor:
    """Σ weights · neighbours of 3 × 3 pixels, mirrored at the border (dcb|abc), of int32 (B, H, W)."""
    height, width = values.shape[-2:]
    around = _pad(values, 1)
    total = torch.zeros_like(values)
    for top, row in enumerate(weights):
        for left, weight in enumerate(row):
            if weight:
                total += weight * around[..., top : top + height, left : left + width]
    return total


def folded(places: np.ndarray, size: int, border: Border) -> np.ndarray:
    """Where places on a line beyond 0 … size − 1 are fetched from."""
    twice = 2 * size if border == "reflect" else max(2 * size - 2, 1)
    places = places % twice
    back: np.ndarray = np.minimum(places, twice - places - (border == "reflect"))
    return back


def gaussian_weights(sigma: float, radius: int) -> np.ndarray:
    """exp(−k² / 2σ²) for k = −radius … radius, with a sum of 1; all on k = 0 where σ is 0."""
    places = np.arange(-radius, radius + 1)
    heights = np.exp(-0.5 * (places / sigma) ** 2) if sigma > 1e-15 else places == 0
    weights: np.ndarray = heights / heights.sum()
    return weights


@lru_cache(maxsize=64)
def _gaussian_matrix(size: int, sigma: float, truncate: float) -> Tensor:
    radius = int(truncate * sigma + 0.5)
    weights = gaussian_weights(sigma, radius)
    matrix = np.zeros((size, size))
    for row in range(size):
        np.add.at(matrix[row], folded(np.arange(row - radius, row + radius + 1), size, "reflect"), weights)
        matrix[row] = _units(matrix[row], FIELD_BITS)
    return torch.from_numpy(matrix / (1 << FIELD_BITS))


def _units(weights: np.ndarray, bits: int) -> np.ndarray:
    """Weights in units of 2^-bits, int64; the largest takes up what rounding does to their sum."""
    units: np.ndarray = np.rint(weights * (1 << bits)).astype(np.int64)
    units.flat[units.argmax()] += int(np.rint(weights.sum() * (1 << bits))) - units.sum()
    return units


def _pad(images: Tensor, reach: int) -> Tensor:
    for axis in (-2, -1):
        size = images.shape[axis]
        places = folded(np.arange(-reach, size + reach), size, "mirror")
        images = images.index_select(axis, torch.from_numpy(places).to(images.device))
    return images
