"""Effect size, equivalence, seeds that decide: against SciPy, integrals and tables."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from hugbench.results.effects import equivalence_p, hedges_g, seeds_to_decide


@pytest.mark.parametrize(("n", "factor"), [(3, 0.5642), (4, 0.7236), (5, 0.7979), (10, 0.9139), (20, 0.9599)])
def test_the_correction_for_few_pairs_is_that_of_the_table(n: int, factor: float) -> None:
    """Hedges (1981), table 1: c(m) for m = n - 1 degrees of freedom."""
    assert hedges_g(1.0, 1.0, n) == pytest.approx(factor, abs=1e-4)
    assert hedges_g([0.3, -0.3], [0.1, 0.2], n).tolist() == pytest.approx(
        [3 * factor, -1.5 * factor], rel=1e-3
    )


def test_corrected_effects_are_right_on_average() -> None:
    draws = np.random.default_rng(0).normal(1.0, 1.0, size=(200_000, 5))
    plain = draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    assert plain.mean() == pytest.approx(1 / 0.7979, abs=0.02)
    assert hedges_g(draws.mean(axis=1), draws.std(axis=1, ddof=1), 5).mean() == pytest.approx(1.0, abs=0.02)


def test_no_effect_size_of_two_pairs_or_without_spread() -> None:
    assert np.isnan(hedges_g(1.0, 1.0, 2))
    assert np.isnan(hedges_g([0.0, 1.0], [0.0, 0.0], 5)).all()


def test_equivalence_is_the_larger_of_two_one_sided_tests() -> None:
    draw = random.Random(1)
    for n in (3, 5, 8):
        values = [draw.gauss(0.002, 0.003) for _ in range(n)]
        above = scipy.stats.ttest_1samp(values, -0.005, alternative="greater").pvalue
        below = scipy.stats.ttest_1samp(values, 0.005, alternative="less").pvalue
        found = equivalence_p(np.mean(values), np.std(values, ddof=1), n, 0.005)
        assert found == pytest.approx(max(above, below), rel=1e-9)


def test_equivalence_at_5_percent_is_the_90_percent_interval_within_delta() -> None:
    half = scipy.stats.t.ppf(0.95, 4) * 0.01 / math.sqrt(5)
    assert equivalence_p(0.002, 0.01, 5, 0.002 + half) == pytest.approx(0.05)
    assert np.isnan(equivalence_p(0.002, 0.01, 2, 1.0))
    assert np.isnan(equivalence_p(0.0, 0.0, 5, 1.0))


def slow_power(effect: float, alpha: float, n: int) -> float:
    """P(|T| > t): over the spread s of a sample, the chance that the mean lies beyond t s / √n."""
    degrees, critical = n - 1, scipy.stats.t.ppf(1 - alpha / 2, n - 1)

    def beyond(u: float) -> float:
        s, shift = math.sqrt(u / degrees), effect * math.sqrt(n)
        outside = scipy.stats.norm.sf(critical * s - shift) + scipy.stats.norm.cdf(-critical * s - shift)
        return float(outside * scipy.stats.chi2.pdf(u, degrees))

    return float(scipy.integrate.quad(beyond, 0, scipy.stats.chi2.isf(1e-12, degrees), limit=200)[0])


@pytest.mark.parametrize("alpha", [0.05, 0.005])
@pytest.mark.parametrize("effect", [0.3, 0.7, -2.0, 6.0])
def test_the_seeds_are_the_first_with_the_power(effect: float, alpha: float) -> None:
    found = seeds_to_decide(effect, alpha, 2)
    assert found is not None
    assert slow_power(effect, alpha, found) >= 0.8
    assert found == 3 or slow_power(effect, alpha, found - 1) < 0.8


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_pairs_for_80_percent_are_those_of_the_tables(effect: float, pairs: int) -> None:
    """Two-sided 5 %, paired t: 199, 34 and 15 pairs for Cohen's small, medium and large effects."""
    assert seeds_to_decide(effect, 0.05, 2) == pairs
    assert seeds_to_decide(-effect, 0.05, 2) == pairs


def test_seeds_that_decide_are_more_than_there_are_and_have_an_end() -> None:
    assert seeds_to_decide(0.0, 0.05, 3) is None
    assert seeds_to_decide(0.01, 0.05, 3) is None
    assert seeds_to_decide(50.0, 0.05, 7) == 8
    assert seeds_to_decide(0.1, 0.05, 3) == 787
    assert seeds_to_decide(0.1, 0.05, 1000) is None
    strict, loose = seeds_to_decide(1.0, 0.005, 3), seeds_to_decide(1.0, 0.05, 3)
    assert strict is not None
    assert loose is not None
    assert strict > loose
