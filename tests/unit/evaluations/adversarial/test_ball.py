"""The ball, at the precision of float32."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hugbench.evaluations.adversarial.ball import AttackError, inside
from tests.unit.evaluations.adversarial.conftest import pixels

RADII = [0.25 / 255, 1 / 255, 8 / 255, 0.1, 0.3, 1.0]


@pytest.mark.parametrize("eps", RADII)
def test_linf_holds_in_exact_arithmetic(eps, device):
    images = pixels(20, shape=(3, 6, 6)).to(device)
    images[0], images[1] = 0, 1
    for sign in (1, -1):
        found = inside((images + sign * eps).clamp(0, 1), images, eps, "Linf")
        for a, b in zip(found.flatten().tolist()[:600], images.flatten().tolist()[:600], strict=True):
            assert abs(Fraction(a) - Fraction(b)) <= Fraction(eps)
            assert 0 <= a <= 1
        free = ((images + sign * eps) > 0) & ((images + sign * eps) < 1)
        assert (((found - images).abs() - eps).abs() < 1.3e-7)[free].all()


@pytest.mark.parametrize("eps", [0.01, 0.5, 3.0])
def test_l2_holds_in_float64(eps, device):
    images = pixels(20, shape=(3, 6, 6)).to(device)
    way = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(device)
    edge = images + eps * (1 + 5e-6) * way / way.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    found = inside(edge.clamp(0, 1), images, eps, "L2")
    assert (found.double() - images.double()).flatten(1).norm(dim=1).max() <= eps
    wanted = (edge.clamp(0, 1) - images).flatten(1).norm(dim=1).clamp(max=eps)
    torch.testing.assert_close((found - images).flatten(1).norm(dim=1), wanted, rtol=1e-4, atol=0)


def test_what_is_inside_stays_as_it_is(device):
    images = pixels(5).to(device)
    found = (images + 0.01 * torch.randn_like(images)).clamp(0, 1)
    assert torch.equal(inside(found, images, 0.2, "Linf"), found)
    assert torch.equal(inside(found, images, 3.0, "L2"), found)


def test_what_lies_beyond_is_pulled_back_along_the_line(device):
    images = pixels(5).to(device)
    far = pixels(5, seed=9).to(device)
    found = inside(far, images, 0.5, "L2", beyond=True)
    wanted = images + 0.5 * (far - images) / (far - images).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        inside(far, images, 0.1, "Linf", beyond=True), images + (far - images).clamp(-0.1, 0.1)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x + 0.2, "0.2"),
        (lambda x: torch.where(x == x.max(), torch.nan, x), "not finite"),
        (lambda x: torch.where(x == x.max(), torch.inf, x), "not finite"),
        (lambda x: x.double(), "float64"),
        (lambda x: x[:1], "expected images"),
        (lambda x: x * 0 - 0.01, "outside \\[0, 1\\]"),
    ],
)
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_what_an_attack_may_not_give_back(change, words, norm, device):
    images = (0.4 + 0.2 * pixels(3, shape=(1, 1, 1))).to(device)
    with pytest.raises(AttackError, match=words):
        inside(change(images), images, 0.1, norm)


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(0, 1, width=32),
    y=st.floats(0, 1, width=32),
    eps=st.floats(1e-4, 1),
    norm=st.sampled_from(["Linf", "L2"]),
)
def test_any_pixel(x, y, eps, norm):
    images, far = torch.full((1, 1, 1, 1), x), torch.full((1, 1, 1, 1), y)
    found = inside(far, images, eps, norm, beyond=True)
    assert abs(Fraction(found.item()) - Fraction(x)) <= Fraction(eps)
    assert min(x, y) <= found.item() <= max(x, y)
