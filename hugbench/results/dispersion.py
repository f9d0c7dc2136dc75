"""How much a number varies from training to training: by its test images, and over seeds beyond that."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

LARGEST_PRIOR = 1.0
"""f0 is at most so many times f: the numbers of one suite are less independent than they are many."""

SMALLEST = 0.05
"""Smaller dispersions count as this: the test of the images looks after them."""


def image_variance(values: Sequence[float], images: int, share: bool) -> float:
    """The variance of a one-seed difference that the test images explain.

    Args:
        values: the number, on both sides and of all seeds.
        images: behind it.
        share: whether it is a share of the images. Where its mean is none, as forgetting may be below 0, it
            is taken for one of half of them.
    """
    if not share:
        return sum(value * value for value in values) / len(values) / images
    mean = sum(values) / len(values)
    p = (mean * images + 1) / (images + 2) if 0 <= mean <= 1 else 0.5
    return p * (1 - p) / images


def prior(
    dispersions: Sequence[float], degrees: Sequence[int], groups: Sequence[Hashable]
) -> tuple[list[float], float]:
    """What dispersions are drawn towards: φ0 of each, and the degrees of freedom f0 of all.

    The logarithm of φ, a multiple of a chi-square over its f degrees of freedom, has the variance ψ'(f/2);
    what those of a group vary more is ψ'(f0/2).

    Args:
        dispersions: at least 0.
        degrees: at least 1.
        groups: which of them are alike.
    """
    import numpy as np
    from scipy.special import digamma, polygamma

    half = np.array(degrees, float) / 2
    logs = np.log(np.maximum(dispersions, SMALLEST)) - digamma(half) + np.log(half)
    which = list(dict.fromkeys(groups))
    places = np.array([which.index(group) for group in groups])
    sizes = np.bincount(places)
    means = np.bincount(places, logs) / sizes
    several = (sizes > 1)[places]
    f0 = LARGEST_PRIOR * float(np.mean(degrees))
    if several.any():
        squares = ((logs - means[places]) ** 2 * (sizes / np.maximum(sizes - 1, 1))[places])[several]
        beyond = float(np.mean(squares - polygamma(1, half[several])))
        f0 = min(f0, 2 * _inverse_trigamma(beyond))
    else:
        f0 = 0.0
    towards = np.exp(means + digamma(f0 / 2) - math.log(f0 / 2)) if f0 else means * 0
    return towards[places].tolist(), f0


def _inverse_trigamma(value: float) -> float:
    """The x with ψ'(x) = value; infinite for none."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    if value <= polygamma(1, 1e3):
        return math.inf
    return (
        float(brentq(lambda x: float(polygamma(1, x)) - value, 1e-3, 1e3))
        if value < polygamma(1, 1e-3)
        else 0.0
    )
