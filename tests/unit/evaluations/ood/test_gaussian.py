"""Shrunk covariance against scikit-learn, distances against a loop."""

from __future__ import annotations

import pytest
import torch
from sklearn.covariance import ledoit_wolf

from hugbench.evaluations.ood import gaussian
from hugbench.evaluations.ood.gaussian import class_sums, fit_gaussians


def drawn(count=60, width=5, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    places = torch.arange(count) % classes
    means = 4 * torch.randn(classes, width, generator=generator)
    mixing = torch.randn(width, width, generator=generator)
    return means[places] + torch.randn(count, width, generator=generator) @ mixing, places


def slow_scores(features, places, queries):
    """−min_c (x − μ_c)ᵀ Σ⁻¹ (x − μ_c) with scikit-learn's covariance, one query after the other."""
    wide = features.double()
    means = {c: wide[places == c].mean(0) for c in places.unique().tolist()}
    rest = torch.stack([x - means[c] for x, c in zip(wide, places.tolist(), strict=True)])
    covariance, shrinkage = ledoit_wolf(rest.numpy(), assume_centered=True)
    precision = torch.linalg.inv(torch.from_numpy(covariance))
    gaps = [[(x - mean) @ precision @ (x - mean) for mean in means.values()] for x in queries.double()]
    return [-float(min(row)) for row in gaps], shrinkage


@pytest.mark.parametrize("block", [7, 8192])
def test_equals_the_loop(device, monkeypatch, block):
    monkeypatch.setattr(gaussian, "BLOCK", block)
    features, places = drawn()
    queries = drawn(seed=1)[0]
    expected, shrinkage = slow_scores(features, places, queries)
    found = fit_gaussians(features.to(device), places, 3)
    assert found.shrinkage == pytest.approx(shrinkage)
    assert 0 < shrinkage < 1
    assert found.scores(queries.to(device)).tolist() == pytest.approx(expected, rel=1e-3)


def test_classes_without_features_take_no_part(device):
    features, places = drawn()
    found = fit_gaussians(features.to(device), 2 * places, 6)
    same = fit_gaussians(features.to(device), places, 3)
    assert len(found.means) == 3
    torch.testing.assert_close(found.scores(features.to(device)), same.scores(features.to(device)))


def test_does_not_depend_on_where_and_how_the_space_is_turned(device):
    features, places = drawn()
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2)))[0]
    scores = fit_gaussians(features.to(device), places, 3).scores(features.to(device))
    moved = 3 * (features @ turn).to(device) + 7
    torch.testing.assert_close(fit_gaussians(moved, places, 3).scores(moved), scores, rtol=1e-3, atol=1e-3)


def test_a_mean_is_at_distance_0_and_nothing_is_nearer(device):
    features, places = drawn()
    means = class_sums(features, places, 3) / 20
    found = fit_gaussians(features.to(device), places, 3)
    assert found.scores(means.float().to(device)).tolist() == pytest.approx([0] * 3, abs=1e-6)
    assert (found.scores(features.to(device)) <= 0).all()


def test_collapsed_features_have_finite_scores_that_still_tell(device):
    # within each class they vary in one direction of 6 only, by very little
    features = torch.zeros(40, 6)
    places = torch.arange(40) % 2
    features[:, 0] = 100.0 * places
    features[:, 1] = 1e-3 * torch.linspace(-1, 1, 40)
    found = fit_gaussians(features.to(device), places, 2)
    inside = found.scores(features.to(device))
    outside = found.scores((features + torch.eye(6)[3]).to(device))
    assert torch.isfinite(inside).all()
    assert torch.isfinite(outside).all()
    assert outside.max() < inside.min()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_no_spread_at_all_leaves_no_covariance(device, value):
    features = torch.full((12, 4), value)
    assert fit_gaussians(features.to(device), torch.arange(12) % 3, 3) is None
