"""Directions and cosines: values, gradients, and what has no direction."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hugbench.criteria.sphere import normalise, riesz_kernel, target_cosines


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_normalised_vectors_keep_their_direction():
    x = vectors(4, 3, 5) * 7
    for row, unit in zip(x.flatten(0, 1), normalise(x).flatten(0, 1), strict=True):
        torch.testing.assert_close(unit, row / row.square().sum().sqrt())


def test_normalise_has_first_and_second_derivatives_of_finite_differences():
    x = vectors(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(normalise, x)
    assert torch.autograd.gradgradcheck(normalise, x)


def test_a_zero_vector_stays_zero_and_gets_no_gradient():
    x = torch.tensor([[0.0, 0.0], [1e-13, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = normalise(x)
    unit.backward(torch.ones_like(unit))
    assert unit.tolist() == [[0, 0], [0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]
    assert x.grad is not None
    assert x.grad[:2].tolist() == [[0, 0], [0, 0]]
    assert x.grad[2].abs().sum() > 0


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_precision_is_float32_at_least(dtype, expected, device):
    x = vectors(3, 4).to(device=device, dtype=dtype)
    assert normalise(x).dtype == expected


def test_target_cosines_equal_a_loop():
    features, proxies, labels = (
        vectors(6, 4),
        normalise(vectors(3, 4, seed=1)),
        torch.tensor([0, 1, 1, 2, 0, 1]),
    )
    found = target_cosines(features, proxies, labels)
    for i, label in enumerate(labels.tolist()):
        x, w = features[i], proxies[label]
        torch.testing.assert_close(found[i], torch.dot(x, w) / (x.norm() * w.norm()))


def test_target_cosines_have_the_gradient_of_finite_differences():
    features, proxies = vectors(6, 4).requires_grad_(), vectors(3, 4, seed=1).requires_grad_()
    labels = torch.tensor([0, 1, 1, 2, 0, 1])
    assert torch.autograd.gradcheck(lambda x, w: target_cosines(x, w, labels), (features, proxies))


@pytest.mark.parametrize("distance", ["chord", "squared_chord", "angle"])
@pytest.mark.parametrize("s", [2.0, 0.0, -1.0, -3.0])
def test_kernels_fall_with_the_distance(s, distance):
    cosine = torch.linspace(1, -1, 101)
    value = riesz_kernel(cosine, s, distance)
    assert torch.isfinite(value).all()
    assert (value.diff() < 0).all()


@pytest.mark.parametrize("distance", ["chord", "squared_chord", "angle"])
def test_kernels_meet_the_distance_itself(distance):
    cosine = torch.tensor([0.9, 0.5, 0.0, -0.5, -0.9], dtype=torch.float64)
    exact = {"chord": (2 - 2 * cosine).sqrt(), "squared_chord": 2 - 2 * cosine, "angle": cosine.acos()}[
        distance
    ]
    torch.testing.assert_close(-riesz_kernel(cosine, -1.0, distance), exact)
    torch.testing.assert_close(riesz_kernel(cosine, 2.0, distance), exact**-2)
    torch.testing.assert_close(riesz_kernel(cosine, 0.0, distance), -exact.log())
