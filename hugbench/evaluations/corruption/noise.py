"""Noise of each pixel on its own: what a level becomes, as a table of probabilities.

An image has 256 levels, so every such noise is a 256 × 256 matrix: the probability of each level after
it, given the one before. A draw from a row costs one look-up (the alias method), whatever the noise. The
matrices are those of the reference's floating-point noise, clipped to [0, 1] and truncated to uint8; they
are drawn from with 31 bits. Channels are independent of each other.

Source:
    M. D. Vose, A linear algorithm for generating random numbers with a given distribution, IEEE
    Transactions on Software Engineering 17(9), 1991.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.special import ndtr, pdtr
from torch import Tensor

from hugbench.evaluations.corruption.constants import Row
from hugbench.evaluations.corruption.randomness import Draws

LEVELS = 256
BITS = 23  # of the threshold within a cell; 8 choose the cell

Probabilities = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def gaussian_noise(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """x + deviation · N(0, 1)."""
    return _drawn(images, "gaussian", constants[0], draws)


def shot_noise(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """Poisson(x · photons) / photons."""
    return _drawn(images, "shot", constants[0], draws)


def impulse_noise(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """A part `amount` of the values becomes 0 or 1, with equal chances."""
    return _drawn(images, "impulse", constants[0], draws)


def speckle_noise(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """x + x · deviation · N(0, 1)."""
    return _drawn(images, "speckle", constants[0], draws)


def _drawn(images: Tensor, name: str, constant: float, draws: Draws) -> Tensor:
    words = draws.words(*images.shape[1:])
    cells = images.to(torch.int32).bitwise_left_shift_(8).bitwise_or_(words & (LEVELS - 1))
    found = _table(name, constant, images.device).index_select(0, cells.flatten()).view_as(words)
    below = words.bitwise_right_shift(32 - BITS).bitwise_and_((1 << BITS) - 1) < (found >> 8)
    return torch.where(below, words, found).bitwise_and_(LEVELS - 1).to(torch.uint8)


@lru_cache(maxsize=64)
def _table(name: str, constant: float, device: torch.device) -> Tensor:
    thresholds, others = alias(probabilities(name, constant))
    scaled = np.minimum(np.rint(thresholds * (1 << BITS)), (1 << BITS) - 1).astype(np.int32)
    return torch.from_numpy(((scaled << 8) | others.astype(np.int32)).ravel()).to(device)


def probabilities(name: str, constant: float) -> Probabilities:
    """The matrix of a noise: entry (i, j) is the probability that level i becomes level j.

    Args:
        name: gaussian, shot, impulse or speckle.
        constant: the deviation, the photons or the amount, above 0.
    """
    before = np.arange(LEVELS)[:, None] / 255.0
    if name == "shot":
        return _shot(before, constant)
    if name == "impulse":
        kept = (1 - constant) * np.eye(LEVELS)
        kept[:, [0, -1]] += constant / 2
        return kept
    edges = np.arange(1, LEVELS) / 255.0
    deviation = constant if name == "gaussian" else np.maximum(constant * before, 1e-30)
    below = ndtr((edges - before) / deviation)
    return np.diff(below, axis=1, prepend=0.0, append=1.0)


def _shot(before: np.ndarray, photons: float) -> Probabilities:
    """k photons are the level trunc(255 · min(k / photons, 1))."""
    counts = np.arange(np.ceil(photons) + 1)
    below = pdtr(counts, before * photons)
    mass = np.diff(below, axis=1, prepend=0.0)
    mass[:, -1] += 1 - below[:, -1]
    levels = np.uint8(np.clip(counts / photons, 0, 1) * 255)
    result = np.zeros((LEVELS, LEVELS))
    np.add.at(result.T, levels, mass.T)
    return result


def alias(matrix: Probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and aliases, both 256 × 256, of the alias method for every row.

    A draw chooses cell j with equal chances; it gives j with probability `thresholds[i, j]`, else
    `aliases[i, j]`.
    """
    rows = np.arange(len(matrix))
    left = matrix * matrix.shape[1]
    thresholds = np.ones_like(left)
    aliases = np.tile(np.arange(matrix.shape[1]), (len(matrix), 1))
    for _ in range(matrix.shape[1]):
        poor, rich = left.argmin(axis=1), left.argmax(axis=1)
        amount = left[rows, poor]
        open_ = rows[amount < 1 - 1e-12]
        if not len(open_):
            break
        poor, rich, amount = poor[open_], rich[open_], amount[open_]
        thresholds[open_, poor], aliases[open_, poor] = np.maximum(amount, 0), rich
        left[open_, rich] -= 1 - amount
        left[open_, poor] = 1
    return thresholds, aliases
