"""Means and paired differences against tables, scipy.stats and brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from hugbench.results.statistics import (
    LARGEST_EXACT,
    mean_interval,
    paired_difference,
    sign_flip_p,
    smallest_p,
)

# Student's t at 97.5 % by degrees of freedom, from any printed table.
T_TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045}

fractions = st.integers(0, 1000).map(lambda k: k / 1000)
pairs = st.dictionaries(st.integers(0, 9), st.tuples(fractions, fractions), min_size=1, max_size=9)


def brute_force(differences: Sequence[int]) -> float:
    """All sign vectors, one by one, in whole numbers."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed for total in sums) / len(sums)


def same(first: float | None, second: float | None) -> bool:
    """Equal but for rounding, or both missing."""
    return first == second or (None not in (first, second) and first == pytest.approx(second, rel=1e-6))


@pytest.mark.parametrize(("degrees", "quantile"), T_TABLE.items())
def test_interval_uses_the_quantile_of_the_table(degrees: int, quantile: float) -> None:
    values = [float(k) for k in range(degrees + 1)]
    interval = mean_interval(values)
    std = math.sqrt((degrees + 1) * (degrees + 2) / 12)  # of 0..n-1: n(n+1)/12
    assert interval.mean == degrees / 2
    assert interval.std == pytest.approx(std)
    assert interval.half_width == pytest.approx(quantile * std / math.sqrt(degrees + 1), rel=2e-4)
    assert interval.n == degrees + 1


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_interval_agrees_with_scipy_stats(n: int, level: float) -> None:
    values = np.random.default_rng(n).normal(0.9, 0.01, n)
    interval = mean_interval(list(values), level)
    low, high = scipy.stats.t.interval(level, n - 1, values.mean(), scipy.stats.sem(values))
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_no_interval() -> None:
    interval = mean_interval([0.7])
    assert (interval.mean, interval.low, interval.high, interval.std) == (0.7, None, None, None)
    assert interval.half_width is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    interval = mean_interval([0.1] * 3)
    assert (interval.mean, interval.low, interval.high, interval.std) == (0.1, 0.1, 0.1, 0.0)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf]])
def test_values_must_be_finite_and_some(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values: expected at least one, all finite"):
        mean_interval(values)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_level_is_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        mean_interval([0.5, 0.6], level)


@pytest.mark.parametrize("n", [3, 4, 6, 15])
def test_paired_t_agrees_with_ttest_rel(n: int) -> None:
    draw = np.random.default_rng(100 + n)
    first, second = draw.normal(0.8, 0.02, n), draw.normal(0.79, 0.02, n)
    found = paired_difference(dict(enumerate(first)), dict(enumerate(second)))
    known = scipy.stats.ttest_rel(first, second)
    interval = known.confidence_interval(0.95)
    assert found.test == "paired t"
    assert found.p_value == pytest.approx(known.pvalue, rel=1e-9)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_p_stays_exact_far_out_in_the_tail() -> None:
    first = {seed: 10.0 + 1e-4 * seed for seed in range(12)}
    found = paired_difference(first, dict.fromkeys(first, 0.0))
    known = scipy.stats.ttest_1samp(list(first.values()), 0).pvalue
    assert found.p_value is not None
    assert 0 < found.p_value < 1e-40
    assert found.p_value == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3],
        [1, 1, 1, 1, 1, 1],
        [3, -1, 2, 2, -5, 4, 1],
        [1, -1],
        [5],
        [0, 0, 2],
        [2, 2, -2, 1, 1, 0, 7, 3],
    ],
)
def test_sign_flips_agree_with_brute_force(differences: list[int]) -> None:
    assert sign_flip_p(differences) == brute_force(differences)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=10), st.sampled_from([1.0, 0.1, 1e-3, 1 / 3]))
@settings(deadline=None, max_examples=60)
def test_ties_count_although_the_sums_are_rounded(differences: list[int], unit: float) -> None:
    assert sign_flip_p([unit * d for d in differences]) == brute_force(differences)


def test_sign_flips_of_thirty_seeds_follow_the_binomial() -> None:
    ones = [1.0] * 22 + [-1.0] * 8  # Σ = 14: at least 22 signs alike, either way
    tail = sum(math.comb(30, k) for k in range(22, 31)) / 2**30
    assert sign_flip_p(ones) == pytest.approx(2 * tail, rel=1e-12)


@pytest.mark.parametrize("n", [0, LARGEST_EXACT + 1])
def test_sign_flips_are_counted_for_1_to_30_seeds(n: int) -> None:
    with pytest.raises(ValueError, match=f"found {n}"):
        sign_flip_p([1.0] * n)


def test_only_shared_seeds_are_compared() -> None:
    found = paired_difference({0: 0.5, 1: 0.6, 2: 0.7, 9: 0.0}, {2: 0.5, 1: 0.5, 0: 0.5, 4: 1.0})
    assert found.seeds == (0, 1, 2)
    assert found.mean == pytest.approx(0.1)


def test_no_shared_seed() -> None:
    found = paired_difference({0: 0.5}, {1: 0.5})
    assert (found.mean, found.n, found.p_value, found.test) == (None, 0, None, "none")
    assert found.note == "no shared seed"


def test_one_seed_has_neither_interval_nor_test() -> None:
    found = paired_difference({3: 0.5}, {3: 0.25})
    assert (found.mean, found.low, found.high, found.p_value) == (0.25, None, None, None)
    assert "no interval and no test with 1 seed" in found.note


def test_two_seeds_have_an_interval_and_no_test() -> None:
    found = paired_difference({0: 0.6, 1: 0.7}, {0: 0.5, 1: 0.5})
    assert found.low == pytest.approx(0.15 - 12.7062 * 0.05, rel=1e-5)  # std/√2 = .05
    assert (found.p_value, found.sign_flip, found.test) == (None, None, "none")
    assert found.note == "not testable with 2 seeds"
    assert not found.can_reach(0.05)


@pytest.mark.parametrize(("n", "reaches"), [(3, False), (5, False), (6, True), (7, True)])
def test_note_says_when_sign_flips_cannot_reach_5_per_cent(n: int, reaches: bool) -> None:
    first = {seed: 0.5 + 0.01 * seed for seed in range(n)}
    found = paired_difference(first, dict.fromkeys(first, 0.4))
    assert found.sign_flip == smallest_p(n) == 2 / 2**n
    assert (smallest_p(n) <= 0.05) is reaches
    assert ("cannot go below" in found.note) is not reaches


@pytest.mark.parametrize("n", [3, 6, LARGEST_EXACT + 5])
def test_identical_values_give_p_1(n: int) -> None:
    values = {seed: 0.1 * seed for seed in range(n)}
    found = paired_difference(values, values)
    assert (found.mean, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert "identical on every seed" in found.note


@pytest.mark.parametrize("n", [3, 6])
def test_equal_differences_have_no_t(n: int) -> None:
    first = {seed: 0.1 * (seed + 3) for seed in range(n)}
    second = {seed: 0.1 * (seed + 1) for seed in range(n)}
    assert len({first[seed] - second[seed] for seed in first}) > 1  # each rounded in its own way
    found = paired_difference(first, second)
    assert (found.test, found.p_value) == ("exact sign flip", 2 / 2**n)
    assert found.low == found.high == found.mean == pytest.approx(0.2)
    assert "variance is zero and t undefined" in found.note
    assert found.can_reach(0.05) is (n == 6)


def test_beyond_thirty_seeds_the_t_test_stands_alone() -> None:
    first = {seed: float(seed % 7) for seed in range(LARGEST_EXACT + 1)}
    found = paired_difference(first, dict.fromkeys(first, 2.0))
    assert found.test == "paired t"
    assert found.sign_flip is None
    assert "no exact sign-flip test" in found.note


@given(pairs)
@settings(deadline=None, max_examples=60)
def test_swapping_the_sides_turns_the_sign(values: dict[int, tuple[float, float]]) -> None:
    first = {seed: pair[0] for seed, pair in values.items()}
    second = {seed: pair[1] for seed, pair in values.items()}
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.mean is not None
    assert back.mean == pytest.approx(-there.mean, abs=1e-15)
    assert (there.test, there.sign_flip, there.note) == (back.test, back.sign_flip, back.note)
    assert same(there.p_value, back.p_value)
    if there.low is not None and back.high is not None:
        assert there.low == pytest.approx(-back.high, abs=1e-12)


@given(pairs, st.sampled_from([-2.0, 0.5, 3.0]))
@settings(deadline=None, max_examples=60)
def test_a_common_shift_of_both_changes_nothing(values: dict[int, tuple[float, float]], shift: float) -> None:
    first = {seed: pair[0] for seed, pair in values.items()}
    second = {seed: pair[1] for seed, pair in values.items()}
    here = paired_difference(first, second)
    there = paired_difference(
        {seed: value + shift for seed, value in first.items()},
        {seed: value + shift for seed, value in second.items()},
    )
    assert there.mean == pytest.approx(here.mean, abs=1e-12)
    assert same(there.p_value, here.p_value)
    assert (there.test, there.sign_flip, there.note) == (here.test, here.sign_flip, here.note)


@given(st.lists(fractions, min_size=2, max_size=20), st.floats(0.05, 0.98))
@settings(deadline=None, max_examples=60)
def test_intervals_hold_the_mean_and_grow_with_the_level(values: list[float], level: float) -> None:
    narrow, wide = mean_interval(values, level), mean_interval(values, (1 + level) / 2)
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert min(values) <= narrow.mean <= max(values)
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high
