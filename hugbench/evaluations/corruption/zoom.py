"""Zoom blur: the mean of an image and its enlargements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import zoom
from torch import Tensor

from hugbench.evaluations.corruption.pixels import precise, quotient
from hugbench.evaluations.corruption.randomness import Draws


def zoom_blur(images: Tensor, constants: Sequence[float], draws: Draws) -> Tensor:
    """Images blurred as if the camera moved towards them (arXiv 1903.12261).

    An enlargement is linear and separable, A x Bᵀ; all of them are summed by two products with
    matrices that hold one factor's A (or B) beside the other's. The weights are multiples of 2^-18, so
    every sum is exact and depends on neither the batch nor the device. Nothing is drawn.

    Args:
        images: uint8 (B, C, H, W).
        constants: stop and step of the factors 1, 1 + step, ..., as `numpy.arange(1, stop, step)` has them.
        draws: not used.

    Returns:
        uint8 (B, C, H, W).
    """
    height, width = images.shape[-2:]
    factors = tuple(np.arange(1, *constants).tolist())
    kind = precise(images.device)
    left, right = (_stacked(length, factors).to(images.device, kind) for length in (height, width))
    x = images.to(kind).reshape(-1, height, width)
    wide = x @ right.reshape(len(factors) * width, width).mT
    summed = left.permute(1, 2, 0).reshape(height, -1) @ wide.view(-1, height * len(factors), width)
    return quotient(x + summed, len(factors) + 1).to(torch.uint8).view(images.shape)


@lru_cache(maxsize=64)
def zoom_matrix(length: int, factor: float) -> np.ndarray:
    """The matrix, float64 (length, length), that enlarges a signal about its middle, linearly.

    It is SciPy's own enlargement (order 1) of the unit vectors of the part that stays in view, so its
    sampling places, and zeros where rounding puts one beyond the end, are SciPy's.
    """
    kept = math.ceil(length / factor)
    first = (length - kept) // 2
    enlarged = zoom(np.eye(kept), (factor, 1), order=1)
    trim = (len(enlarged) - length) // 2
    matrix = np.zeros((length, length))
    matrix[:, first : first + kept] = enlarged[trim : trim + length]
    return matrix


@lru_cache(maxsize=16)
def _stacked(length: int, factors: tuple[float, ...]) -> Tensor:
    """The matrices of several factors, in multiples of 2^-18, float64 (factors, length, length)."""
    matrices = np.stack([zoom_matrix(length, factor) for factor in factors])
    return torch.from_numpy(np.rint(matrices * 2**18) / 2**18)
