"""How far a difference in accuracy depends on which seeds and which test images there happened to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000

_BLOCK = 1 << 22
"""Counts of images that are drawn at a time."""


def bootstrap_means(
    differences: NDArray[np.floating], draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Means of differences over resampled seeds and resampled test images.

    Images are the clusters: one that is drawn twice counts twice under every seed, for both models and
    in every comparison, since all saw the same images. Seeds are drawn on their own, images on their
    own (two crossed factors). With one seed only the images vary; with few seeds their share of the
    spread is too small by (S - 1)/S, which the t-interval beside it does not suffer from.

    Source: Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007), arXiv 0712.1111.

    Args:
        differences: (K, S, N), K comparisons, S seeds, N images; what the first model has right minus
            what the second has.
        draws: how many times.
        seed: of the generator.

    Returns:
        (draws, K).
    """
    comparisons, seeds, images = differences.shape
    generator = np.random.default_rng(seed)
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    flat = np.ascontiguousarray(differences, dtype=np.float32).reshape(-1, images)
    means = np.empty((draws, comparisons))
    done = 0
    for of_images in _counts(generator, images, draws):
        sums = (flat @ of_images.T).reshape(comparisons, seeds, -1).astype(np.float64)
        until = done + len(of_images)
        means[done:until] = np.einsum("ksb,bs->bk", sums, of_seeds[done:until]) / (seeds * images)
        done = until
    return means


def bootstrap_intervals(
    differences: NDArray[np.floating], draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> NDArray[np.float64]:
    """Percentile intervals of `bootstrap_means`, (K, 2)."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    return np.quantile(bootstrap_means(differences, draws, seed), tails, axis=0).T


def _counts(generator: np.random.Generator, images: int, draws: int) -> Iterator[NDArray[np.float32]]:
    """How often each image is drawn, (at most some, N) at a time."""
    block = max(1, _BLOCK // images)
    for first in range(0, draws, block):
        rows = min(block, draws - first)
        drawn = generator.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float32)
