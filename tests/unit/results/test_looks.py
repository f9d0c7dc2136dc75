"""Holm, McNemar, Friedman and Nemenyi: against slow loops, SciPy and printed tables."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.stats

from hugbench.results.mcnemar import mcnemar
from hugbench.results.multiplicity import holm, next_level
from hugbench.results.ranks import critical_difference, rank_rows, ranking, studentised_range


def slow_holm(p_values: list[float], alpha: float) -> list[bool]:
    """Which are rejected: step down from the smallest, stop at the first that is too large."""
    rejected = [False] * len(p_values)
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] > alpha / (len(p_values) - step):
            break
        rejected[place] = True
    return rejected


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2, None, 0.5, 0.9]) == [pytest.approx(0.6), None, 1.0, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]
    assert holm([0.04]) == [0.04]


def test_holm_rejects_what_stepping_down_rejects() -> None:
    draw = random.Random(3)
    for _ in range(200):
        p_values = [draw.random() ** 4 for _ in range(draw.randint(1, 9))]
        for alpha in (0.01, 0.05, 0.2):
            assert [p <= alpha for p in holm(p_values)] == slow_holm(p_values, alpha)


def test_holm_keeps_the_chance_of_a_false_alarm() -> None:
    p_values = np.random.default_rng(0).random((4000, 8))
    alarms = sum(min(holm(row.tolist())) <= 0.05 for row in p_values)
    assert 0.035 < alarms / 4000 < 0.06


def test_the_next_level_is_that_of_the_first_that_was_not_rejected() -> None:
    assert next_level(holm([0.001, 0.03, 0.5, None]), 0.05) == 0.025
    assert next_level([], 0.05) == 0.05
    assert next_level([0.01], 0.05) == 0.05


def hits(both: int, first: int, second: int, neither: int) -> tuple[list[bool], list[bool]]:
    return (
        [True] * (both + first) + [False] * (second + neither),
        [True] * both + [False] * first + [True] * second + [False] * neither,
    )


@pytest.mark.parametrize(("first", "second"), [(3, 9), (9, 3), (0, 6), (1, 0), (12, 12), (0, 0), (10, 14)])
def test_few_mistakes_are_a_binomial_test(first: int, second: int) -> None:
    found = mcnemar(*hits(50, first, second, 7))
    assert (found.first, found.second, found.test) == (first, second, "McNemar, exact")
    known = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p_value == pytest.approx(known)


@pytest.mark.parametrize(("first", "second"), [(10, 15), (40, 60), (200, 260), (30, 30), (0, 40)])
def test_many_mistakes_are_mid_p(first: int, second: int) -> None:
    total = first + second
    chances = [math.comb(total, count) / 2**total for count in range(total + 1)]
    fewer = min(first, second)
    known = 2 * (sum(chances[:fewer]) + chances[fewer] / 2) if first != second else 1.0
    found = mcnemar(*hits(500, first, second, 70))
    assert found.test == "McNemar, mid-p"
    assert found.p_value == pytest.approx(known, rel=1e-6)


def test_few_mistakes_by_hand() -> None:
    """1 against 7: 2 · (1 + 8) of 256 outcomes."""
    assert mcnemar(*hits(1, 1, 7, 12)).p_value == pytest.approx(18 / 256)


def test_ranks_share_ties() -> None:
    assert rank_rows([[0.9, 0.7, 0.9, 0.1], [1, 1, 1, 1]]).tolist() == [[1.5, 3, 1.5, 4], [2.5] * 4]
    values = np.random.default_rng(0).integers(0, 5, (20, 6))
    assert rank_rows(values) == pytest.approx(scipy.stats.rankdata(-values, axis=1))


@pytest.mark.parametrize("tied", [False, True])
def test_friedman_is_scipys(tied: bool) -> None:
    values = np.random.default_rng(1).normal([0, 0, 0.4, 0.4, 1], size=(12, 5))
    values = values.round(0) if tied else values
    found = ranking(list("abcde"), values)
    known = scipy.stats.friedmanchisquare(*values.T)
    assert found.statistic == pytest.approx(known.statistic)
    assert found.p_value == pytest.approx(known.pvalue)
    assert found.blocks == 12
    assert list(found.ranks) == sorted(found.ranks)
    assert found.criteria[0] == "e"


@pytest.mark.parametrize(
    ("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (8, 3.031), (10, 3.164)]
)
def test_the_studentised_range_is_that_of_demsar(k: int, q: float) -> None:
    """Demšar (2006), table 5(a), alpha .05."""
    assert studentised_range(k, 0.05) / math.sqrt(2) == pytest.approx(q, abs=1e-3)


def test_the_studentised_range_is_that_of_scipy() -> None:
    assert studentised_range(7, 0.1) == pytest.approx(
        scipy.stats.studentized_range.ppf(0.9, 7, np.inf), abs=1e-4
    )


def test_the_critical_difference_of_demsars_example() -> None:
    """Four classifiers, 14 data sets: 2.569 √(4·5 / (6·14)) = 1.25 (§3.2.2)."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_groups_of_neighbours_that_are_not_told_apart() -> None:
    rows = [[9, 8, 7, 2, 1]] * 10
    found = ranking(list("abcde"), rows)
    assert found.ranks == (1, 2, 3, 4, 5)
    assert found.critical_difference == pytest.approx(1.929, abs=1e-3)
    assert found.alike == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    wide = ranking(list("abc"), [[3, 2, 1]] * 2)
    assert wide.alike == (("a", "b", "c"),)
    assert ranking(["a", "b"], [[1, 0]] * 40).alike == ()


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0, 1.0], [2.0, 2.0]], [[1.0], [2.0]]])
def test_nothing_is_tested_with_one_block_only_ties_or_one_criterion(values: list[list[float]]) -> None:
    found = ranking(["a", "b"][: len(values[0])], values)
    assert (found.statistic, found.p_value, found.critical_difference, found.alike) == (None, None, None, ())
