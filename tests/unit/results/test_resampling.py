"""The bootstrap over seeds and images: against a slow loop and known variances."""

from __future__ import annotations

import numpy as np
import pytest

from hugbench.results import resampling
from hugbench.results.resampling import bootstrap_intervals, bootstrap_means


def test_each_draw_is_a_mean_over_drawn_seeds_and_drawn_images() -> None:
    """The same draws by loops over seeds and images that were drawn."""
    draw = np.random.default_rng(5)
    differences = draw.integers(-1, 2, size=(2, 3, 17))
    found = bootstrap_means(differences, draws=40, seed=9)
    generator = np.random.default_rng(9)
    of_seeds = generator.multinomial(3, [1 / 3] * 3, size=40)
    drawn = generator.integers(17, size=(40, 17))
    for replicate in range(40):
        seeds = [seed for seed in range(3) for _ in range(of_seeds[replicate, seed])]
        for comparison in range(2):
            values = [differences[comparison, s, i] for s in seeds for i in drawn[replicate]]
            assert found[replicate, comparison] == pytest.approx(sum(values) / len(values))


def test_blocks_change_nothing_and_seeds_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(0).integers(-1, 2, size=(3, 4, 50))
    whole = bootstrap_means(differences, draws=100, seed=1)
    monkeypatch.setattr(resampling, "_BLOCK", 170)
    assert np.array_equal(bootstrap_means(differences, draws=100, seed=1), whole)
    assert not np.array_equal(bootstrap_means(differences, draws=100, seed=2), whole)


def test_with_one_seed_it_is_the_spread_of_a_mean_over_images() -> None:
    differences = np.random.default_rng(0).choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=(1, 1, 2000))
    means = bootstrap_means(differences, draws=4000)
    assert means.mean() == pytest.approx(differences.mean(), abs=1e-3)
    assert means.std() == pytest.approx(differences.std() / np.sqrt(2000), rel=0.04)


def test_images_are_clusters() -> None:
    """The same images wrong under every seed: ten seeds tell no more of the images than one."""
    one = np.random.default_rng(0).choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=(1, 1, 2000))
    spread = bootstrap_means(np.repeat(one, 10, axis=1), draws=4000).std()
    assert spread == pytest.approx(one.std() / np.sqrt(2000), rel=0.04)


def test_seeds_vary_by_their_own_spread() -> None:
    """Every image alike within a seed: only the seeds' means vary, by (S - 1)/S of their variance over S."""
    means = np.array([0.0, 0.5, 1.0, 0.25])
    differences = np.broadcast_to(means[None, :, None], (1, 4, 100))
    assert bootstrap_means(differences, draws=20_000).std() == pytest.approx(means.std() / 2, rel=0.03)


def test_the_interval_covers_what_it_promises() -> None:
    draw = np.random.default_rng(2)
    inside = 0
    for trial in range(200):
        ease, skill = draw.normal(0, 0.1, 300), draw.normal(0.05, 0.02, 12)
        values = skill[:, None] + ease[None, :] + draw.normal(0, 0.1, (12, 300))
        low, high = bootstrap_intervals(values[None], draws=400, seed=trial)[0]
        inside += low <= 0.05 <= high
    assert 0.88 <= inside / 200 <= 1.0


def test_comparisons_share_their_draws() -> None:
    differences = np.random.default_rng(0).integers(-1, 2, size=(1, 3, 40))
    twice = bootstrap_means(np.concatenate([differences, differences]), draws=50)
    assert np.array_equal(twice[:, 0], twice[:, 1])
