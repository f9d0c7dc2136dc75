"""How much a number varies from training to training: by its test images, and over seeds beyond that."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

LARGEST_PRIOR = 1.0
"""f0 is at most so many times f: the numbers of one suite are less independent than they are many."""

SMALLEST = 0.05
"""Smaller dispersions count as this: the test of the images looks after them."""


class Spread(NamedTuple):
    """A dispersion φ, how much more seeds spread than images explain, and its degrees of freedom."""

    dispersion: float
    degrees: float


def image_variance(values: Sequence[float], images: int, share: bool) -> float:
    """The variance of a one-seed difference that the test images explain.

    Args:
        values: the number, on both sides and of all seeds.
        images: behind it.
        share: whether it is a share of the images. Where its mean is none, as forgetting may be below 0, it
            is taken for one of half of them.
    """
    if not share:
        return sum(value * value for value in values) / len(values) / max(images, 1)
    mean = sum(values) / len(values)
    p = (mean * images + 1) / (images + 2) if 0 <= mean <= 1 else 0.5
    return p * (1 - p) / max(images, 1)


def prior(
    dispersions: Sequence[float], degrees: Sequence[float], groups: Sequence[Hashable]
) -> tuple[list[float], list[float]]:
    """What dispersions are drawn towards: φ0 of each, and its degrees of freedom f0, 0 for what is alone.

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
    which = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    places = np.array([which[group] for group in groups])
    sizes = np.bincount(places)
    means = (np.bincount(places, logs) / sizes)[places]
    several = (sizes > 1)[places]
    if not several.any():
        return [0.0] * len(dispersions), [0.0] * len(dispersions)
    squares = (logs - means) ** 2 * (sizes / np.maximum(sizes - 1, 1))[places]
    beyond = float(np.mean((squares - polygamma(1, half))[several]))
    f0 = min(LARGEST_PRIOR * float(np.mean(degrees)), 2 * _inverse_trigamma(beyond))
    towards = np.exp(means + float(digamma(f0 / 2)) - math.log(f0 / 2))
    return np.where(several, towards, 0.0).tolist(), np.where(several, f0, 0.0).tolist()


def moderated(spreads: Sequence[Spread], groups: Sequence[Hashable]) -> list[Spread]:
    """Each dispersion drawn towards its prior: (f φ + f0 φ0)/(f + f0), with f + f0 degrees of freedom."""
    if not spreads:
        return []
    towards, more = prior([s.dispersion for s in spreads], [s.degrees for s in spreads], groups)
    return [
        Spread((f * phi + f0 * phi0) / (f + f0), f + f0)
        for (phi, f), phi0, f0 in zip(spreads, towards, more, strict=True)
    ]


def _inverse_trigamma(value: float) -> float:
    """The x in [0.001, 1000] with ψ'(x) = value, or the end that is nearer."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    least, most = float(polygamma(1, 1e3)), float(polygamma(1, 1e-3))
    wanted = min(max(value, least), most)
    return float(brentq(lambda x: float(polygamma(1, x)) - wanted, 1e-3, 1e3))
