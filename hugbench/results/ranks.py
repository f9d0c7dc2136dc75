"""Many criteria over many blocks: average ranks, whether they differ at all, and which ones do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Ranking:
    """Criteria by average rank, the best (smallest) first.

    Attributes:
        criteria: labels.
        ranks: their average ranks, from 1.
        blocks: how many rankings were averaged.
        statistic, p_value: Friedman's chi-squared with k - 1 degrees of freedom; None with one block or
            criterion, or where all tie.
        critical_difference: ranks that differ by less are not told apart; None where p_value is.
        alike: groups of criteria within one critical difference, as large as they get; none where each
            differs from each.
    """

    criteria: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    statistic: float | None
    p_value: float | None
    critical_difference: float | None
    alike: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "criteria": list(self.criteria), "ranks": list(self.ranks)} | {
            "alike": [list(group) for group in self.alike]
        }


def ranking(criteria: Sequence[str], values: ArrayLike, alpha: float = 0.05) -> Ranking:
    """Friedman's test with Nemenyi's critical difference.

    Source: Friedman, The use of ranks to avoid the assumption of normality, J. Am. Stat. Assoc. 32 (1937),
    with the correction for ties; Nemenyi (1963) as in Demšar, Statistical comparisons of classifiers over
    multiple data sets, JMLR 7 (2006).

    Args:
        criteria: k labels.
        values: (N, k), a block a row, more is better, no NaN.
        alpha: of the critical difference.
    """
    ranks = rank_rows(values)
    blocks, k = ranks.shape
    means = ranks.mean(axis=0)
    order = sorted(range(k), key=lambda place: means[place])
    names = tuple(criteria[place] for place in order)
    sorted_means = tuple(float(means[place]) for place in order)
    statistic = _friedman(ranks)
    if blocks < 2 or statistic is None:
        return Ranking(names, sorted_means, blocks, None, None, None, ())
    from scipy.special import chdtrc

    difference = critical_difference(k, blocks, alpha)
    alike = _alike(names, sorted_means, difference)
    return Ranking(names, sorted_means, blocks, statistic, float(chdtrc(k - 1, statistic)), difference, alike)


def rank_rows(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks within each row, 1 for the largest; ties share the mean of their ranks."""
    rows = np.asarray(values, float)
    larger = (rows[:, None, :] > rows[:, :, None]).sum(axis=2)
    ties = (rows[:, None, :] == rows[:, :, None]).sum(axis=2)
    return np.asarray(larger + (ties + 1) / 2, float)


def critical_difference(k: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's: q_alpha √(k (k + 1) / (6 N)), q_alpha the studentised range over √2."""
    return studentised_range(k, alpha) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * blocks))


@lru_cache(maxsize=64)
def studentised_range(k: int, alpha: float) -> float:
    """The range that k independent standard normal numbers exceed with probability alpha.

    P(range < q) = k ∫ φ(z) (Φ(z) - Φ(z - q))^(k - 1) dz, z being the largest; solved by bisection.
    """
    from scipy.special import ndtr

    z = np.linspace(-8.5, 8.5, 3401)
    weight = k * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        inside = float((weight * (ndtr(z) - ndtr(z - middle)) ** (k - 1)).sum())
        low, high = (middle, high) if inside < 1 - alpha else (low, middle)
    return (low + high) / 2


def _friedman(ranks: NDArray[np.float64]) -> float | None:
    """(k - 1) Σ_j (Σ_i c_ij)² / Σ_ij c_ij², c = rank - (k + 1)/2; None where all tie in every row."""
    k = ranks.shape[1]
    centred = ranks - (k + 1) / 2
    spread = float((centred**2).sum())
    if k < 2 or not spread:
        return None
    return float((k - 1) * (centred.sum(axis=0) ** 2).sum() / spread)


def _alike(names: Sequence[str], means: Sequence[float], difference: float) -> tuple[tuple[str, ...], ...]:
    """The longest runs of neighbours in the ranking that lie within one critical difference."""
    groups: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = max(place for place in range(first, len(names)) if means[place] - means[first] < difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return tuple(tuple(names[first : last + 1]) for first, last in groups)
