from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hugbench.training.mixing import cutmix, mix, mixup
from tests.unit.training.standin import recipe

SIZE, CLASSES, HEIGHT, WIDTH = 5, 4, 6, 9


def batch(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(SIZE, 2, HEIGHT, WIDTH, generator=draw)
    return images.to(device), torch.tensor([0, 3, 1, 1, 2], device=device)


def soft(labels: Tensor) -> Tensor:
    rows = torch.zeros(len(labels), CLASSES, device=labels.device)
    for row, label in enumerate(labels.tolist()):
        rows[row, label] = 1.0
    return rows


def test_mixup_is_the_slow_loop(device: torch.device) -> None:
    images, labels = batch(device)
    before, targets = images.clone(), soft(labels)
    mixed, mixed_targets = mixup(images, images.roll(1, 0), targets, share=0.3)
    for i in range(SIZE):
        torch.testing.assert_close(mixed[i], 0.3 * images[i] + 0.7 * images[i - 1])
        torch.testing.assert_close(mixed_targets[i], 0.3 * targets[i] + 0.7 * targets[i - 1])
    assert torch.equal(images, before)
    assert torch.equal(targets, soft(labels))


@settings(max_examples=50, deadline=None)
@given(
    share=st.floats(0, 1),
    row=st.integers(0, HEIGHT - 1),
    column=st.integers(0, WIDTH - 1),
)
def test_cutmix_is_the_slow_loop(share: float, row: int, column: int) -> None:
    images, labels = batch()
    targets = soft(labels)
    mixed, mixed_targets = cutmix(images, images.roll(1, 0), targets, share, (row, column))
    foreign = [
        (y, x)
        for y in range(HEIGHT)
        for x in range(WIDTH)
        if not torch.equal(mixed[:, :, y, x], images[:, :, y, x])
    ]
    high, wide = HEIGHT * (1 - share) ** 0.5, WIDTH * (1 - share) ** 0.5
    for y in range(HEIGHT):
        for x in range(WIDTH):
            inside = (y, x) in foreign
            # A pixel further inside (outside) the box than rounding can move its edge.
            if abs(y + 0.5 - row) < high / 2 - 1 and abs(x + 0.5 - column) < wide / 2 - 1:
                assert inside
            if abs(y + 0.5 - row) > high / 2 + 1 or abs(x + 0.5 - column) > wide / 2 + 1:
                assert not inside
            for i in range(SIZE):
                assert torch.equal(mixed[i, :, y, x], images[i - 1 if inside else i, :, y, x])
    kept = 1 - len(foreign) / (HEIGHT * WIDTH)
    for i in range(SIZE):
        torch.testing.assert_close(mixed_targets[i], kept * targets[i] + (1 - kept) * targets[i - 1])


def test_without_an_alpha_nothing_is_touched() -> None:
    images, labels = batch()
    found = mix(images, labels, CLASSES, recipe(), np.random.default_rng(0))
    assert found[0] is images
    assert found[1] is labels


def kinds(rounds: int, **alphas: float) -> tuple[list[str], list[float]]:
    """Which of the two was applied in each round, and the share of the image that was kept."""
    images, labels = torch.zeros(2, 1, 40, 40), torch.tensor([0, 1])
    images[1] = 1.0
    draw = np.random.default_rng(0)
    names, shares = [], []
    for _ in range(rounds):
        mixed, targets = mix(images, labels, 2, recipe(**alphas), draw)
        assert targets.sum(1).tolist() == pytest.approx([1, 1])
        assert float(mixed[1].mean()) == pytest.approx(float(targets[1, 1]), abs=1e-5)
        names.append("cutmix" if set(mixed.unique().tolist()) <= {0.0, 1.0} else "mixup")
        shares.append(float(targets[1, 1]))
    return names, shares


def test_each_alone_and_either_by_a_coin() -> None:
    assert set(kinds(30, mixup=1.0)[0]) == {"mixup"}
    assert set(kinds(30, cutmix=1.0)[0]) == {"cutmix"}
    both = kinds(400, mixup=1.0, cutmix=1.0)[0]
    assert 160 < both.count("mixup") < 240


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_the_share_of_mixup_has_the_moments_of_its_beta_distribution(alpha: float) -> None:
    shares = torch.tensor(kinds(2000, mixup=alpha)[1])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_the_same_generator_gives_the_same_batch() -> None:
    images, labels = batch()
    one, two, other = (
        mix(images, labels, CLASSES, recipe(mixup=0.4, cutmix=0.4), np.random.default_rng(seed))[0]
        for seed in (7, 7, 8)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
