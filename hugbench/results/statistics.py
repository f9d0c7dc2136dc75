"""Means and paired differences over seeds, with what may and what may not be said of them.

A comparison has few seeds, so every interval is Student's and every test says from which number of
seeds on it can decide anything. SciPy is imported when the first interval is asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Test = Literal["paired t", "exact sign flip", "none"]

SMALLEST_T = 3
"""Seeds that a t-test needs here: with 2 it has one degree of freedom and next to no power."""

LARGEST_EXACT = 30
"""Seeds up to which all 2^n sign flips are counted."""

ROUNDING = 1e-12
"""Spread of differences, relative to the values they come from, that is rounding and nothing else."""


@dataclass(frozen=True)
class Interval:
    """A mean over n values and its interval.

    Attributes:
        mean: the mean.
        low, high: ends of the t-interval; None for one value.
        n: number of values.
        std: sample standard deviation (n - 1 in the denominator); None for one value.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    std: float | None

    @property
    def half_width(self) -> float | None:
        """Half the interval's length; None for one value."""
        return None if self.low is None else self.mean - self.low


@dataclass(frozen=True)
class Paired:
    """A mean difference over shared seeds, first minus second.

    Attributes:
        mean: the mean difference; None without a shared seed.
        low, high: ends of the paired t-interval; None below 2 seeds.
        n: number of shared seeds.
        seeds: the shared seeds, ascending.
        p_value: two-sided p of `test`; None where nothing can be tested.
        test: where `p_value` comes from.
        sign_flip: two-sided p of the exact sign-flip test; None below 3 and above 30 seeds.
        note: what limits the reading, a clause; empty if nothing does.
        std: sample standard deviation of the differences; None below 2 seeds.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    seeds: tuple[int, ...]
    p_value: float | None
    test: Test
    sign_flip: float | None
    note: str
    std: float | None = None

    def can_reach(self, alpha: float) -> bool:
        """Whether `test` could give a p of at most `alpha` with this many seeds, had it gone well."""
        return self.test == "paired t" or (self.test == "exact sign flip" and smallest_p(self.n) <= alpha)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean and two-sided t-interval, mean ± t_{n-1}((1 + level)/2) · std / √n.

    Source: Student, The probable error of a mean, Biometrika 6 (1908).

    Args:
        values: at least one finite number.
        level: of confidence, in (0, 1).

    Raises:
        ValueError: no values, one that is not finite, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level!r}")
    n = len(values)
    if n == 0 or not all(math.isfinite(value) for value in values):
        raise ValueError(f"values: expected at least one, all finite, found {list(values)!r}")
    if n == 1:
        return Interval(values[0], None, None, 1, None)
    mean = values[0] if min(values) == max(values) else math.fsum(values) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(n - 1, level) * std / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, std)


def paired_difference(first: Mapping[int, float], second: Mapping[int, float], level: float = 0.95) -> Paired:
    """The difference first - second over the seeds that both have: interval and two-sided p.

    From 3 seeds on, `p_value` is the paired t-test's (Student 1908), which takes the differences
    for normally distributed; `sign_flip` takes them only for symmetric about 0. Where all
    differences are equal their variance is zero and t undefined: `p_value` is then the sign-flip
    test's, and the note says so.

    Args:
        first, second: a finite value per seed.
        level: of the interval, in (0, 1); the note calls untestable what cannot reach 1 - level.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        return Paired(None, None, None, 0, (), None, "none", None, "no shared seed")
    differences = _without_rounding([first[s] for s in seeds], [second[s] for s in seeds])
    n, interval = len(seeds), mean_interval(differences, level)
    flip = sign_flip_p(differences) if SMALLEST_T <= n <= LARGEST_EXACT else None
    p_value, test = _test(interval)
    note = limits(interval, 1 - level)
    return Paired(
        interval.mean, interval.low, interval.high, n, seeds, p_value, test, flip, note, interval.std
    )


def sign_flip_p(differences: Sequence[float]) -> float:
    """Exact two-sided p of the sign-flip test: the share of sign vectors e with |Σ e_i d_i| ≥ |Σ d_i|.

    All 2^n sign vectors count, the observed one among them; sums that differ by rounding only are
    ties. Each half of the differences has 2^(n/2) signed sums, and sorting one half counts the
    pairs, so 30 seeds need 2^15 sums and not 2^30.

    Source: Fisher, The Design of Experiments (1935), §21; Pitman, Significance tests which may be
    applied to samples from any populations, J. R. Stat. Soc. Suppl. 4 (1937).

    Args:
        differences: at most 30 finite numbers.

    Raises:
        ValueError: more than 30, or none.
    """
    n = len(differences)
    if not 1 <= n <= LARGEST_EXACT:
        raise ValueError(f"differences: expected 1 to {LARGEST_EXACT}, found {n}")
    tolerance = 1e-9 * math.fsum(abs(d) for d in differences)
    threshold = abs(math.fsum(differences)) - tolerance
    if threshold <= 0:
        return 1.0
    left, right = _signed_sums(differences[: n // 2]), sorted(_signed_sums(differences[n // 2 :]))
    above = sum(len(right) - bisect_left(right, threshold - total) for total in left)
    return above * smallest_p(n)  # as many sums lie below -threshold as above threshold


def smallest_p(n: int) -> float:
    """The smallest two-sided p that the sign-flip test can give with n seeds, 2 / 2^n."""
    return 2.0 ** (1 - n)


def _signed_sums(values: Sequence[float]) -> list[float]:
    """Σ ±v over all choices of signs, 2^len(values) sums."""
    sums = [0.0]
    for value in values:
        sums = [total + value for total in sums] + [total - value for total in sums]
    return sums


def _without_rounding(first: list[float], second: list[float]) -> list[float]:
    """The differences; those that are equal but for rounding become equal, so that no t is made of it."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    rounding = ROUNDING * max(abs(value) for value in (*first, *second))
    if max(differences) - min(differences) > rounding:
        return differences
    common = differences[0] if abs(differences[0]) > rounding else 0.0
    return [common] * len(differences)


def _test(interval: Interval) -> tuple[float | None, Test]:
    if interval.n < SMALLEST_T or interval.std is None:
        return None, "none"
    if interval.std == 0:  # of equal differences only the signs all alike reach the observed sum
        return 1.0 if interval.mean == 0 else smallest_p(interval.n), "exact sign flip"
    from scipy.special import stdtr

    t = interval.mean / (interval.std / math.sqrt(interval.n))
    return float(2 * stdtr(interval.n - 1, -abs(t))), "paired t"


def limits(interval: Interval, alpha: float) -> str:
    """What limits the reading of a mean paired difference, a clause; empty if nothing does."""
    n = interval.n
    if n == 1:
        return "no interval and no test with 1 seed"
    if n < SMALLEST_T:
        return f"not testable with {n} seeds"
    parts = []
    if interval.std == 0 and interval.mean == 0:
        parts.append("identical on every seed")
    elif interval.std == 0:
        parts.append("the same difference on every seed: its variance is zero and t undefined")
    if smallest_p(n) > alpha:
        parts.append(f"the exact sign-flip test cannot go below p = {smallest_p(n):g} with {n} seeds")
    if n > LARGEST_EXACT:
        parts.append(f"no exact sign-flip test above {LARGEST_EXACT} seeds")
    return "; ".join(parts)


@lru_cache(maxsize=256)
def t_quantile(degrees: int, level: float) -> float:
    """The t that |T| stays below with probability `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))
