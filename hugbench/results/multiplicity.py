"""Many looks at once: p-values that stay honest over a whole family of tests."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values: at most alpha is the chance that any true null of the family is rejected.

    The i-th smallest of m is multiplied by m - i + 1, made as large as those before it, and cut at 1. It
    holds however the tests depend on each other.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).

    Args:
        p_values: in [0, 1]; None is no test, stays None and does not count.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[place] = largest
    return adjusted


def next_level(adjusted: Sequence[float | None], alpha: float) -> float:
    """The level at which Holm tests the smallest p that it did not reject: alpha over how many are left."""
    left = sum(p is not None and p > alpha for p in adjusted)
    return alpha / max(left, 1)
