"""The least energies: closed forms by building the points, bounds by minimising."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from hugbench.criteria.proxies import simplex, uniform_frame
from hugbench.criteria.uniformity import hyperspherical_energy
from hugbench.evaluations.optima import LeastEnergy, least_energy


def slow_energy(points) -> float:
    """Mean over the pairs of the inverse squared distance, pair after pair."""
    total, pairs = 0.0, 0
    for a, b in itertools.combinations(points.tolist(), 2):
        total += 1 / sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
        pairs += 1
    return total / pairs


def polygon(count):
    angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def icosahedron():
    golden = (1 + math.sqrt(5)) / 2
    corners = [(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    turned = [tuple(c[(k + i) % 3] for i in range(3)) for c in corners for k in range(3)]
    return torch.tensor(turned, dtype=torch.float64) / math.hypot(1, golden)


def clebsch():
    """The 16 even sign patterns of the cube in 5 dimensions."""
    signs = [s for s in itertools.product((-1.0, 1.0), repeat=5) if math.prod(s) > 0]
    return torch.tensor(signs, dtype=torch.float64) / math.sqrt(5)


@pytest.mark.parametrize(
    "points",
    [
        *(simplex(n) for n in (2, 3, 5, 11)),
        *(polygon(n) for n in (3, 4, 5, 10, 37)),
        *(torch.cat([torch.eye(d), -torch.eye(d)]).double() for d in (3, 5, 10)),
        icosahedron(),
        clebsch(),
    ],
    ids=lambda points: f"{len(points)}x{points.shape[1]}",
)
def test_known_minima_are_the_energies_of_the_configurations(points) -> None:
    found = least_energy(*points.shape)
    assert found is not None
    assert found.known
    assert found.value == pytest.approx(slow_energy(points), rel=1e-12)


@pytest.mark.parametrize(
    ("count", "dimension", "value"),
    [(4, 9, 0.375), (10, 9, 0.45), (100, 128, 0.495), (1000, 1000, 0.4995), (100, 50, 0.497475),
     (10, 2, 0.916667), (12, 3, 0.590909), (16, 5, 0.520833), (27, 6, 0.538462), (56, 7, 0.556818)],
)  # fmt: skip
def test_pinned_values(count, dimension, value) -> None:
    found = least_energy(count, dimension)
    assert found is not None
    assert found.known
    assert found.value == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize(("count", "dimension"), [(1, 3), (0, 2), (3, 1), (2, 0)])
def test_nothing_to_compare_with(count, dimension) -> None:
    assert least_energy(count, dimension) is None


def test_two_points_on_a_line() -> None:
    assert least_energy(2, 1) == LeastEnergy(0.25, True)


@pytest.mark.parametrize(("count", "dimension", "above"), [(7, 5, 0.011), (10, 3, 0.013), (100, 64, 0.003)])
def test_a_bound_lies_just_below_what_descent_attains(count, dimension, above) -> None:
    torch.manual_seed(0)
    best = math.inf
    for _ in range(3 if count < 50 else 1):
        points = uniform_frame(count, dimension).double().requires_grad_()
        steps = torch.optim.LBFGS([points], max_iter=100, line_search_fn="strong_wolfe")

        def loss(points=points, steps=steps):
            steps.zero_grad()
            energy = hyperspherical_energy(points)
            energy.backward()
            return energy

        steps.step(loss)
        best = min(best, float(hyperspherical_energy(points.detach())))
    found = least_energy(count, dimension)
    assert found is not None
    assert not found.known
    assert found.value <= best <= found.value * (1 + above)


def test_bounds_are_above_the_simplex_bound_and_grow_with_the_number_of_points() -> None:
    for dimension in (3, 4, 5, 8, 64):
        values = [least_energy(count, dimension).value for count in range(2, 4 * dimension)]  # type: ignore[union-attr]
        assert values == sorted(values)
        assert all(value >= (n - 1) / (2 * n) for n, value in enumerate(values, start=2))
