"""How much numbers vary: by images, and how the spread over few seeds is drawn towards others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hugbench.results.dispersion import image_variance, prior


def test_a_share_has_the_binomial_variance_of_fresh_images() -> None:
    rng = np.random.default_rng(0)
    accuracies = rng.binomial(400, 0.8, 20_000) / 400
    assert image_variance([0.8], 400, True) == pytest.approx(accuracies.var(), rel=0.03)


def test_a_share_of_all_or_none_still_varies_by_about_an_image() -> None:
    for value in (0.0, 1.0):
        assert math.sqrt(image_variance([value, value], 500, True)) == pytest.approx(1 / 500, rel=0.01)


def test_what_is_no_share_varies_as_a_mean_of_exponential_values() -> None:
    rng = np.random.default_rng(1)
    means = rng.exponential(2.5, (5_000, 200)).mean(axis=1)
    assert image_variance([2.5], 200, False) == pytest.approx(means.var(), rel=0.06)


def test_a_share_below_zero_counts_as_one_of_half() -> None:
    assert image_variance([-0.2], 100, True) == 0.25 / 100


def scaled(rng: np.random.Generator, scales: np.ndarray, degrees: int) -> list[float]:
    """Observed dispersions: the true ones times a chi-square over its degrees of freedom."""
    return (scales * rng.chisquare(degrees, len(scales)) / degrees).tolist()


def test_alike_dispersions_are_drawn_towards_their_mean_as_far_as_allowed() -> None:
    rng = np.random.default_rng(2)
    towards, f0 = prior(scaled(rng, np.full(600, 3.0), 4), [4] * 600, ["a"] * 600)
    assert set(f0) == {4.0}
    # the prior is a scaled inverse chi-square: its scale is below what it is the mean of
    expected = 3.0 * math.exp(_digamma(2.0) - math.log(2.0))
    assert towards[0] == pytest.approx(expected, rel=0.1)


def test_degrees_of_freedom_of_the_prior_are_found() -> None:
    rng = np.random.default_rng(3)
    true = 2.0 * 2.5 / rng.chisquare(2.5, 4000)
    towards, f0 = prior(scaled(rng, true, 4), [4] * 4000, [place % 2 for place in range(4000)])
    assert f0[0] == pytest.approx(2.5, rel=0.15)
    assert towards[0] == pytest.approx(2.0, rel=0.15)


def test_one_that_is_alone_is_left_alone() -> None:
    assert prior([2.0], [4], ["a"]) == ([0.0], [0.0])
    towards, f0 = prior([2.0, 3.0, 9.0], [4, 4, 4], ["a", "a", "b"])
    assert (towards[2], f0[2]) == (0.0, 0.0)
    assert f0[0] > 0


def test_dispersions_of_zero_are_no_infinity() -> None:
    towards, f0 = prior([0.0, 0.0, 1.0], [4, 4, 4], ["a"] * 3)
    assert all(map(math.isfinite, (*towards, *f0)))


def _digamma(x: float) -> float:
    """By its recurrence and asymptotic series."""
    shift = 0.0
    while x < 20:
        shift -= 1 / x
        x += 1
    return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)
