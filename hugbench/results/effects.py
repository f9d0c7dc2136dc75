"""How large a paired difference is, whether it is as good as none, and how many seeds would tell.

Arguments that are arrays go element by element. SciPy is imported when the first is asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW = 10
"""Seeds below which an effect size is rough: its own interval is wider than it is large."""

POWER = 0.8
MOST_SEEDS = 1000
"""More seeds than these are not counted out."""


def hedges_g(mean: ArrayLike, std: ArrayLike, n: int) -> NDArray[np.float64]:
    """Cohen's d_z of paired differences, mean / std, with Hedges' correction for few pairs.

    The correction is the exact one, J(n - 1) with J(v) = Γ(v/2) / (√(v/2) Γ((v - 1)/2)): without it d_z
    is 1.77 times too large with 3 pairs.

    Source: Cohen, Statistical Power Analysis (1988), §2.3.5; Hedges, Distribution theory for Glass's
    estimator of effect size, J. Educ. Stat. 6 (1981).

    Returns:
        NaN below 3 pairs, where J is zero, and without any spread.
    """
    mean, std = np.asarray(mean, float), np.asarray(std, float)
    size = np.full(np.broadcast(mean, std).shape, np.nan)
    if n >= 3:
        half = (n - 1) / 2
        correction = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
        np.divide(correction * mean, std, out=size, where=std > 0)
    return size


def equivalence_p(mean: ArrayLike, std: ArrayLike, n: int, delta: ArrayLike) -> NDArray[np.float64]:
    """p of two one-sided paired t-tests: small where the difference lies within ±delta.

    It is the larger of the p of "the difference is at most -delta" and of "it is at least delta"; at
    most alpha exactly where the interval of level 1 - 2 alpha lies within ±delta.

    Source: Schuirmann, A comparison of the two one-sided tests procedure and the power approach,
    J. Pharmacokinet. Biopharm. 15 (1987).

    Args:
        mean, std: of the paired differences.
        n: number of pairs.
        delta: above 0, in the unit of the mean.

    Returns:
        NaN below 3 pairs, and without any spread.
    """
    from scipy.special import stdtr

    mean, std, delta = np.asarray(mean, float), np.asarray(std, float), np.asarray(delta, float)
    if n < 3:
        return np.full(np.broadcast(mean, std, delta).shape, np.nan)
    error = np.where(std > 0, std, np.nan) / math.sqrt(n)
    p: NDArray[np.float64] = stdtr(n - 1, (np.abs(mean) - delta) / error)
    return p


def seeds_to_decide(effect: float, alpha: float, seen: int) -> int | None:
    """Seeds with which a paired t-test would find this effect with 80 % power; None for more than 1,000.

    The power with n pairs is that of the noncentral t with n - 1 degrees of freedom and noncentrality
    √n · effect, in the effect's own direction. The effect is taken for the true one, which a handful of
    seeds cannot promise: read it as an order of magnitude.

    Args:
        effect: observed mean over observed standard deviation, without correction.
        alpha: two-sided level of the test.
        seen: seeds that there are; the answer is larger.
    """
    enough = bisect_left(_least_effects(alpha), -abs(effect)) + 2
    needed = max(enough, seen + 1)
    return needed if needed <= MOST_SEEDS else None


@lru_cache(maxsize=256)
def _least_effects(alpha: float) -> list[float]:
    """Minus the smallest effect that 2, 3, ... 1,000 seeds find with 80 % power, ascending."""
    from scipy.special import nctdtrinc, stdtrit

    n = np.arange(2, MOST_SEEDS + 1)
    shift = nctdtrinc(n - 1, 1 - POWER, stdtrit(n - 1, 1 - alpha / 2))
    least: list[float] = (-shift / np.sqrt(n)).tolist()
    return least
