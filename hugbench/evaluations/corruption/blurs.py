"""Blurs that are the same for every image: out of focus, and Gaussian."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from torch import Tensor

from hugbench.evaluations.corruption.constants import Row
from hugbench.evaluations.corruption.filters import folded, gaussian_weights, stencil
from hugbench.evaluations.corruption.gaussian import gaussian_filter
from hugbench.evaluations.corruption.pixels import to_bytes, to_unit
from hugbench.evaluations.corruption.randomness import Draws


def defocus_blur(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """Every pixel is spread over a disk of `radius`, whose rim is smoothed by `smoothing`."""
    radius, smoothing = constants
    return stencil(images, disk(radius, smoothing))


def gaussian_blur(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """A Gaussian filter with deviation `sigma`, cut at 4 sigma; beyond the border its pixels go on."""
    (sigma,) = constants
    return to_bytes(gaussian_filter(to_unit(images), sigma))


@lru_cache(maxsize=16)
def disk(radius: float, smoothing: float) -> np.ndarray:
    """The weights of a disk, (K, K) with K odd.

    They are smoothed by a Gaussian of 3 × 3 pixels, of 5 × 5 where the radius is above 8, on a grid of at
    least 17 × 17, mirrored at its border: a disk of radius 8 touches it.

    Args:
        radius: in pixels, above 0; pixels whose centre is within it count.
        smoothing: deviation of the Gaussian in pixels, above 0.
    """
    reach, margin = max(8, math.ceil(radius)), 1 if radius <= 8 else 2
    line = np.arange(-reach, reach + 1)
    weights = (line[:, None] ** 2 + line[None, :] ** 2 <= radius**2).astype(np.float64)
    weights /= weights.sum()
    size = len(line)
    matrix = np.zeros((size, size))
    for row in range(size):
        places = folded(np.arange(row - margin, row + margin + 1), size, "mirror")
        np.add.at(matrix[row], places, gaussian_weights(smoothing, margin))
    return matrix @ weights @ matrix.T
