"""Frames of directions: optimal where an optimum is known, random in how they are turned."""

from __future__ import annotations

import pytest
import torch

from hugbench.criteria.proxies import make_proxies, simplex, uniform_frame
from hugbench.criteria.uniformity import hyperspherical_energy


@pytest.mark.parametrize("classes", [2, 3, 4, 10, 101])
def test_simplex_has_equal_cosines(classes):
    vertices = simplex(classes)
    expected = torch.full((classes, classes), -1 / (classes - 1), dtype=torch.float64).fill_diagonal_(1)
    assert vertices.shape == (classes, classes - 1)
    torch.testing.assert_close(vertices @ vertices.T, expected)


@pytest.mark.parametrize(("classes", "width"), [(2, 1), (4, 3), (5, 16), (10, 9)])
def test_frame_of_few_classes_is_a_simplex(classes, width):
    frame = uniform_frame(classes, width)
    expected = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1)
    assert frame.shape == (classes, width)
    torch.testing.assert_close(frame @ frame.T, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("classes", "width", "optimum"), [(10, 2, 0.916667), (6, 3, 0.45), (12, 3, 0.590909), (27, 6, 0.538462)]
)
def test_frame_of_many_classes_is_nearly_optimal(classes, width, optimum):
    torch.manual_seed(0)
    frame = uniform_frame(classes, width)
    torch.testing.assert_close(frame.norm(dim=1), torch.ones(classes))
    assert hyperspherical_energy(frame).item() == pytest.approx(optimum, rel=5e-3)


def test_frames_are_turned_by_the_callers_seed():
    torch.manual_seed(1)
    first = uniform_frame(4, 6)
    assert not torch.equal(uniform_frame(4, 6), first)
    torch.manual_seed(1)
    assert torch.equal(uniform_frame(4, 6), first)


def test_random_proxies_start_about_length_one():
    torch.manual_seed(0)
    proxies = make_proxies("learnable", "random", 200, 50)
    assert proxies().norm(dim=1).mean().item() == pytest.approx(1, abs=0.05)
    assert [p.shape for p in proxies.parameters()] == [(200, 50)]


@pytest.mark.parametrize("kind", ["learnable", "static", "orthogonal"])
def test_uniform_proxies_start_at_the_frame(kind):
    torch.manual_seed(0)
    frame = uniform_frame(5, 4)
    torch.manual_seed(0)
    torch.testing.assert_close(make_proxies(kind, "uniform", 5, 4)(), frame)


def test_an_orthogonal_turn_is_a_rotation():
    torch.manual_seed(0)
    proxies = make_proxies("orthogonal", "uniform", 7, 5).double()
    torch.testing.assert_close(proxies(), proxies.frame)
    with torch.no_grad():
        proxies.turn.normal_()
    turned = proxies()
    assert (turned - proxies.frame).norm() > 0.5
    torch.testing.assert_close(turned @ turned.T, proxies.frame @ proxies.frame.T)
