"""The statistics of `hugbench.results.statistics` for thousands of comparisons at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hugbench.results.statistics import (
    LARGEST_EXACT,
    ROUNDING,
    SMALLEST_T,
    Interval,
    Paired,
    limits,
    paired_difference,
    sign_flip_p,
    smallest_p,
    t_quantile,
)

Values = Mapping[int, float]
"""Finite values by seed."""

_FEW_SIGNS = 12
_CHUNK = 1000


def mean_intervals(groups: Sequence[Sequence[float]], level: float = 0.95) -> list[Interval]:
    """`mean_interval` of each group of values (at least one each, all finite)."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, values in enumerate(groups):
        by_size[len(values)].append(place)
    found: dict[int, Interval] = {}
    for n, places in by_size.items():
        rows = np.array([groups[place] for place in places], float)
        found |= zip(places, _intervals(rows, n, level), strict=True)
    return [found[place] for place in range(len(groups))]


def paired_differences(pairs: Sequence[tuple[Values, Values]], level: float = 0.95) -> list[Paired]:
    """`paired_difference` of each pair."""
    by_seeds: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, (first, second) in enumerate(pairs):
        by_seeds[tuple(sorted(first.keys() & second.keys()))].append(place)
    found: dict[int, Paired] = {}
    for seeds, places in by_seeds.items():
        if len(seeds) < SMALLEST_T:
            found |= {place: paired_difference(*pairs[place], level) for place in places}
            continue
        both = np.array(
            [[[values[seed] for seed in seeds] for values in pairs[place]] for place in places], float
        )
        found |= zip(places, _paired(seeds, both[:, 0], both[:, 1], level), strict=True)
    return [found[place] for place in range(len(pairs))]


def _paired(
    seeds: tuple[int, ...], first: NDArray[np.float64], second: NDArray[np.float64], level: float
) -> list[Paired]:
    """Of rows of values of the same seeds, at least 3."""
    from scipy.special import stdtr

    n = len(seeds)
    rows = _without_rounding(first, second)
    intervals = _intervals(rows, n, level)
    means = np.array([interval.mean for interval in intervals])
    stds = np.array([interval.std for interval in intervals], float)
    same = stds == 0
    t = means / (np.where(same, 1.0, stds) / math.sqrt(n))
    p = np.where(same, np.where(means == 0, 1.0, smallest_p(n)), 2 * stdtr(n - 1, -np.abs(t)))
    flips = _sign_flips(rows) if n <= LARGEST_EXACT else [None] * len(rows)
    return [
        Paired(
            interval.mean,
            interval.low,
            interval.high,
            n,
            seeds,
            p_value,
            "paired t" if interval.std else "exact sign flip",
            flip,
            limits(interval, 1 - level),
            interval.std,
        )
        for interval, p_value, flip in zip(intervals, p.tolist(), flips, strict=True)
    ]


def _intervals(rows: NDArray[np.float64], n: int, level: float) -> list[Interval]:
    if n == 1:
        return [Interval(value, None, None, 1, None) for value in rows[:, 0].tolist()]
    same = rows.max(axis=1) == rows.min(axis=1)
    means = np.where(same, rows[:, 0], rows.mean(axis=1))
    stds = np.sqrt(((rows - means[:, None]) ** 2).sum(axis=1) / (n - 1))
    half = t_quantile(n - 1, level) * stds / math.sqrt(n)
    columns = (means, means - half, means + half, stds)
    return [
        Interval(mean, low, high, n, std)
        for mean, low, high, std in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _without_rounding(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """The differences; those of a row that are equal but for rounding become equal."""
    rows = first - second
    rounding = ROUNDING * np.maximum(np.abs(first).max(axis=1), np.abs(second).max(axis=1))
    common = np.where(np.abs(rows[:, 0]) > rounding, rows[:, 0], 0.0)
    varies = rows.max(axis=1) - rows.min(axis=1) > rounding
    return np.where(varies[:, None], rows, common[:, None])


def _sign_flips(rows: NDArray[np.float64]) -> list[float | None]:
    """`sign_flip_p` of each row; up to 12 seeds by all sums at once."""
    n = rows.shape[1]
    if n > _FEW_SIGNS:
        return [sign_flip_p(row) for row in rows.tolist()]
    signs = 1.0 - 2.0 * (np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1)  # the last is always +
    found: list[float | None] = []
    for first in range(0, len(rows), _CHUNK):
        part = rows[first : first + _CHUNK]
        threshold = np.abs(part.sum(axis=1)) - 1e-9 * np.abs(part).sum(axis=1)
        reached = (np.abs(part @ signs.T) >= threshold[:, None]).sum(axis=1)
        found += (reached * smallest_p(n)).tolist()
    return found
