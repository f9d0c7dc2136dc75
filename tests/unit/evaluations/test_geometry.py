"""The measures of neural collapse against slow loops, known values and degenerate features."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hugbench.criteria.proxies import simplex
from hugbench.evaluations import geometry
from hugbench.evaluations.geometry import Features


def blobs(counts, width, seed, scale=0.5, offset=0.0):
    """Gaussian classes around random means, in random order."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(counts), width, generator=generator) + offset
    targets = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    targets = targets[torch.randperm(len(targets), generator=generator)]
    noise = scale * torch.randn(len(targets), width, generator=generator)
    return Features(centres[targets] + noise, targets, len(counts))


def by_class(features):
    """The features of each class with images, as lists of float64 vectors (scaled to length 1 if asked)."""
    found = {}
    for row, label in zip(features.values.double().numpy(), features.targets.tolist(), strict=True):
        length = np.linalg.norm(row)
        unit = row / length if length > 1e-12 else 0 * row
        found.setdefault(label, []).append(unit if features.on_sphere else row)
    return [found[label] for label in sorted(found)]


CASES = [
    blobs((7, 4, 9), 5, 0),
    blobs((6, 5, 8, 3, 4, 7), 3, 1),
    replace(blobs((5, 0, 6, 1, 4), 4, 2), on_sphere=True),
    replace(blobs((3, 8, 5, 6, 4), 2, 3), on_sphere=True),
    blobs((5, 6, 4), 6, 4, scale=0.01, offset=50.0),
]
cases = pytest.mark.parametrize("features", CASES, ids=range(len(CASES)))


@pytest.fixture(params=[1, 1 << 22], ids=["a row at a time", "at once"], autouse=True)
def block(request, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK_NUMBERS", request.param)


@cases
def test_within_class_variability(features) -> None:
    classes = by_class(features)
    means = [sum(rows) / len(rows) for rows in classes]
    middle = sum(means) / len(means)
    within = sum(
        sum(np.outer(row - mean, row - mean) for row in rows) / len(rows)
        for rows, mean in zip(classes, means, strict=True)
    ) / len(classes)
    between = sum(np.outer(mean - middle, mean - middle) for mean in means) / len(classes)
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / len(classes)
    assert geometry.within_class_variability(features) == pytest.approx(expected, rel=1e-6)


@cases
def test_class_distance_normalised_variance(features) -> None:
    classes = by_class(features)
    means = [sum(rows) / len(rows) for rows in classes]
    spread = [
        sum(np.sum((row - mean) ** 2) for row in rows) / len(rows)
        for rows, mean in zip(classes, means, strict=True)
    ]
    pairs = [
        (spread[a] + spread[b]) / (2 * np.sum((means[a] - means[b]) ** 2))
        for a, b in itertools.combinations(range(len(means)), 2)
    ]
    expected = sum(pairs) / len(pairs)
    assert geometry.class_distance_normalised_variance(features) == pytest.approx(expected, rel=1e-9)


@cases
def test_simplex_and_duality(features) -> None:
    means = [sum(rows) / len(rows) for rows in by_class(features)]
    count = len(means)
    middle = sum(means) / count
    centred = [mean - middle for mean in means]
    size = math.sqrt(sum(float(a @ b) ** 2 for a in centred for b in centred))
    error = 0.0
    for a, b in itertools.product(range(count), repeat=2):
        target = ((a == b) - 1 / count) / math.sqrt(count - 1)
        error += (float(centred[a] @ centred[b]) / size - target) ** 2
    found = features.centred_means
    assert geometry.simplex_etf_error(found) == pytest.approx(math.sqrt(error), rel=1e-9)

    lengths = [math.sqrt(float(v @ v)) for v in centred]
    average = sum(lengths) / count
    deviation = math.sqrt(sum((x - average) ** 2 for x in lengths) / count)
    assert geometry.equinorm_variation(found) == pytest.approx(deviation / average, rel=1e-9)
    excess = [
        abs(float(centred[a] @ centred[b]) / (lengths[a] * lengths[b]) + 1 / (count - 1))
        for a, b in itertools.combinations(range(count), 2)
    ]
    assert geometry.equiangularity_error(found) == pytest.approx(sum(excess) / len(excess), rel=1e-9)

    proxies = torch.randn(
        count, features.values.shape[1], generator=torch.Generator().manual_seed(9)
    ).double()
    whole = math.sqrt(sum(x**2 for x in lengths))
    proxy_size = math.sqrt(sum(float(x) ** 2 for x in proxies.flatten()))
    distance = sum(
        (float(centred[c][k]) / whole - float(proxies[c, k]) / proxy_size) ** 2
        for c in range(count)
        for k in range(proxies.shape[1])
    )
    assert geometry.self_duality_error(found, proxies) == pytest.approx(math.sqrt(distance), rel=1e-9)


@cases
def test_nearest_centres(features) -> None:
    train = replace(
        blobs((4,) * features.num_classes, features.values.shape[1], 11), on_sphere=features.on_sphere
    )
    among = torch.tensor([0, 2])
    expected = []
    for rows, _ in features.blocks():
        for row in rows:
            distances = {c: float((row - train.means[c]).norm()) for c in among.tolist()}
            expected.append(min(distances, key=distances.get))
    assert geometry.nearest_centres(features, train.means, among).tolist() == expected


@cases
def test_chords_and_energy(features) -> None:
    on_sphere = replace(features, on_sphere=True)
    classes = by_class(on_sphere)
    directions = [sum(rows) / len(rows) for rows in classes]
    directions = [v / np.linalg.norm(v) for v in directions]
    chords = [
        sum(float(np.linalg.norm(row - direction)) for row in rows) / len(rows)
        for rows, direction in zip(classes, directions, strict=True)
    ]
    found = on_sphere.mean_over_classes(geometry.chords(on_sphere, on_sphere.means))
    assert found == pytest.approx(sum(chords) / len(chords), rel=1e-9)
    pairs = [1 / float(np.sum((a - b) ** 2)) for a, b in itertools.combinations(directions, 2)]
    value, count = geometry.energy(on_sphere.means[on_sphere.present])
    assert count == len(classes)
    assert value == pytest.approx(sum(pairs) / len(pairs), rel=1e-9)


@pytest.mark.parametrize("width", [9, 12])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_collapsed_simplex_is_perfect(width, scale) -> None:
    turn = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(0)).double())[0]
    corners = torch.nn.functional.pad(simplex(10), (0, width - 9)) @ turn
    offset = torch.full((width,), 0.1 * scale, dtype=torch.float64)
    targets = torch.arange(10).repeat(4)
    features = Features((scale * corners + offset)[targets].float(), targets, 10)
    assert geometry.within_class_variability(features) == pytest.approx(0, abs=1e-12)
    assert geometry.class_distance_normalised_variance(features) == pytest.approx(0, abs=1e-12)
    means = features.centred_means
    assert geometry.simplex_etf_error(means) == pytest.approx(0, abs=1e-6)
    assert geometry.equinorm_variation(means) == pytest.approx(0, abs=1e-6)
    assert geometry.equiangularity_error(means) == pytest.approx(0, abs=1e-6)
    assert geometry.self_duality_error(means, 7 * corners) == pytest.approx(0, abs=1e-6)
    assert geometry.self_duality_error(means, -7 * corners) == pytest.approx(2, abs=1e-6)
    assert geometry.energy(means)[0] == pytest.approx(0.45, rel=1e-6)
    sphere = Features(corners[targets].float(), targets, 10, on_sphere=True)
    assert float(geometry.chords(sphere, corners).max()) < 1e-6


def test_gaussian_blobs_of_known_variance() -> None:
    """Means on the axes at distance r, noise σ: NC1 is σ²·(C − 1)/r², CDNV is d σ²/(2 r²)."""
    classes, width, sigma, r, images = 5, 5, 0.3, 2.0, 4000
    targets = torch.arange(classes).repeat_interleave(images)
    noise = sigma * torch.randn(len(targets), width, generator=torch.Generator().manual_seed(0))
    features = Features(r * torch.eye(width)[targets] + noise, targets, classes)
    # Σ_B = (r²/C)(I − 11ᵀ/C) has C − 1 eigenvalues r²/C; Σ_W = σ² I
    expected = sigma**2 * (classes - 1) / r**2
    assert geometry.within_class_variability(features) == pytest.approx(expected, rel=0.02)
    distance = geometry.class_distance_normalised_variance(features)
    assert distance == pytest.approx(width * sigma**2 / (2 * r**2), rel=0.02)


def test_classes_weigh_the_same_however_many_images_they_have() -> None:
    rows = torch.tensor([[0.0], [2.0], [10.0], [10.0], [10.0], [10.0]])
    features = Features(rows, torch.tensor([0, 0, 1, 1, 1, 1]), 2)
    # means 1 and 10, variances 1 and 0: Σ_W = ½, Σ_B = 4.5²
    assert geometry.within_class_variability(features) == pytest.approx(0.5 / 4.5**2 / 2)
    assert geometry.class_distance_normalised_variance(features) == pytest.approx(1 / (2 * 81))


class TestDegenerate:
    def test_all_features_equal(self) -> None:
        features = Features(torch.full((6, 3), 0.7), torch.tensor([0, 0, 1, 1, 2, 2]), 3)
        assert not features.centred_means.any()
        assert math.isnan(geometry.within_class_variability(features))
        assert geometry.class_distance_normalised_variance(features) == math.inf
        for measure in (
            geometry.simplex_etf_error,
            geometry.equinorm_variation,
            geometry.equiangularity_error,
        ):
            assert math.isnan(measure(features.centred_means))
        assert math.isnan(geometry.self_duality_error(features.centred_means, torch.eye(3).double()))

    def test_means_that_coincide_with_spread_within(self) -> None:
        features = Features(torch.tensor([[1.0], [-1.0], [2.0], [-2.0]]), torch.tensor([0, 0, 1, 1]), 2)
        assert geometry.within_class_variability(features) == math.inf
        assert geometry.class_distance_normalised_variance(features) == math.inf

    def test_two_of_three_means_coincide(self) -> None:
        rows = torch.tensor([[1.0, 0.1], [1.0, -0.1], [1.0, 0.2], [1.0, -0.2], [-2.0, 0.3], [-2.0, -0.3]])
        features = Features(rows, torch.tensor([0, 0, 1, 1, 2, 2]), 3)
        assert geometry.class_distance_normalised_variance(features) == math.inf
        assert geometry.within_class_variability(features) == pytest.approx(0, abs=1e-12)  # no spread along x
        assert math.isfinite(geometry.energy(features.means)[0])

    def test_rounding_of_float32_is_no_difference_of_means(self) -> None:
        generator = torch.Generator().manual_seed(0)
        rows = 1000 + 1e-5 * torch.randn(90, 4, generator=generator)  # below what float32 tells apart there
        features = Features(rows, torch.arange(3).repeat(30), 3)
        assert not features.centred_means.any()
        assert geometry.class_distance_normalised_variance(features) == math.inf

    def test_zero_features_are_perpendicular_to_everything(self) -> None:
        rows = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
        features = Features(rows, torch.tensor([0, 0, 1]), 2, on_sphere=True)
        assert geometry.chords(features, features.means).tolist() == pytest.approx([math.sqrt(2), 0, 0])
        assert geometry.chords(features, torch.zeros(2, 2)).tolist() == pytest.approx([math.sqrt(2)] * 3)

    def test_vectors_without_a_direction_are_left_out_of_the_energy(self) -> None:
        points = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-3.0, 0.0]]).double()
        assert geometry.energy(points) == (pytest.approx(0.25), 2)
        value, count = geometry.energy(points[:2])
        assert math.isnan(value)
        assert count == 1

    def test_coincident_directions_have_a_finite_energy(self) -> None:
        value, _ = geometry.energy(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]).double())
        assert 1e12 < value < math.inf

    def test_a_single_class_and_single_images(self) -> None:
        lone = Features(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]), 4)
        assert lone.present.tolist() == [1]
        assert math.isnan(geometry.class_distance_normalised_variance(lone))
        assert math.isnan(geometry.simplex_etf_error(lone.centred_means))
        single = Features(torch.eye(3), torch.arange(3), 3)
        assert geometry.within_class_variability(single) == pytest.approx(0, abs=1e-15)
        assert geometry.simplex_etf_error(single.centred_means) == pytest.approx(0, abs=1e-7)


def test_many_classes_in_few_dimensions_are_compared_in_small_blocks(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    values, centres = (
        torch.randn(50, 2, generator=generator),
        torch.randn(30, 2, generator=generator).double(),
    )
    features = Features(values, torch.arange(50) % 30, 30)
    expected = torch.cdist(values.double(), centres).argmin(1)
    monkeypatch.setattr(geometry, "BLOCK_NUMBERS", 120)
    assert [len(rows) for rows, _ in features.blocks(30)] == [4] * 12 + [2]
    assert [len(rows) for rows, _ in features.blocks()] == [50]
    assert torch.equal(geometry.nearest_centres(features, centres, torch.arange(30)), expected)
