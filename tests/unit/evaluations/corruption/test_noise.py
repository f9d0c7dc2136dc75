"""Noise of single pixels: its probabilities, the look-ups and the images against the reference's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from hugbench.evaluations.corruption.kinds import KERNELS
from hugbench.evaluations.corruption.noise import alias, probabilities

from .pictures import SEVERITIES, constants, draws

KINDS = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")


def slow(kind, level, constant, count, generator):
    """A level after the reference's noise, `count` times; impulse noise as scikit-image's random_noise."""
    x = np.full(count, level) / 255.0
    if kind == "gaussian_noise":
        x = x + generator.normal(size=count, scale=constant)
    elif kind == "shot_noise":
        x = generator.poisson(x * constant) / constant
    elif kind == "speckle_noise":
        x = x + x * generator.normal(size=count, scale=constant)
    else:
        flipped, salted = generator.random(count) <= constant, generator.random(count) <= 0.5
        x = np.where(flipped, salted, x)
    return np.uint8(np.clip(x, 0, 1) * 255)


def agree(one, other) -> float:
    """The p-value of two histograms (256,) having one source; rare levels together."""
    rare = one + other < 20
    table = np.stack([np.append(cells[~rare], cells[rare].sum()) for cells in (one, other)])
    table = table[:, table.sum(axis=0) > 0]
    return 1.0 if table.shape[1] == 1 else stats.chi2_contingency(table).pvalue


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("level", [0, 1, 30, 128, 250, 255])
def test_levels_are_distributed_as_the_references(kind, side, severity, level, device) -> None:
    images = torch.full((80, 1, 25, 25), level, dtype=torch.uint8, device=device)
    row = constants(kind, severity, torch.empty(1, 1, side, side))
    found = KERNELS[kind](images, row, draws(kind, severity, len(images), device))
    expected = slow(kind, level, row[0], images.numel(), np.random.default_rng(severity))
    cells = [np.bincount(np.ravel(values), minlength=256) for values in (found.cpu().numpy(), expected)]
    assert agree(*cells) > 1e-4


def by_hand(name, constant, level, out) -> float:
    """The probability of one level after another, from the formulas."""
    x = level / 255
    if name == "impulse":
        return (1 - constant) * (level == out) + constant / 2 * (out in (0, 255))
    if name == "shot":
        hit = [k for k in range(40 * int(constant)) if int(min(k / constant, 1) * 255) == out]
        rate = x * constant
        return sum(
            math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) if rate else float(k == 0) for k in hit
        )
    deviation = constant if name == "gaussian" else constant * x
    if not deviation:
        return float(level == out)

    def below(value):
        return 0.5 * math.erfc((x - value) / deviation / math.sqrt(2))

    least = below(out / 255) if out else 0
    return (below((out + 1) / 255) if out < 255 else 1) - least


@pytest.mark.parametrize(
    ("name", "constant"),
    [("gaussian", 0.08), ("gaussian", 0.38), ("shot", 500), ("shot", 3), ("impulse", 0.27), ("speckle", 0.6)],
)
def test_probabilities_and_their_alias_table(name, constant) -> None:
    matrix = probabilities(name, constant)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-12)
    for level in (0, 1, 77, 254, 255):
        for out in (0, 1, 51, 77, 78, 200, 254, 255):
            assert matrix[level, out] == pytest.approx(by_hand(name, constant, level, out), abs=1e-11)
    thresholds, aliases = alias(matrix)
    again = np.zeros_like(matrix)
    for level in range(256):
        for cell in range(256):
            again[level, cell] += thresholds[level, cell] / 256
            again[level, aliases[level, cell]] += (1 - thresholds[level, cell]) / 256
    np.testing.assert_allclose(again, matrix, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_channels_are_independent(kind, device) -> None:
    """The spectrum of the noise of a plain image is flat, and channels do not correlate."""
    images = torch.full((200, 3, 16, 16), 120, dtype=torch.uint8, device=device)
    found = KERNELS[kind](images, constants(kind, 5, images), draws(kind, 5, len(images), device)).double()
    found = (found - found.mean()) / found.std()
    power = torch.fft.fft2(found).abs().square().mean(dim=(0, 1)) / 256
    assert 0.75 < power.min() <= power.max() < 1.25  # each a mean of 600, of deviation 1/√600 to √(2/600)
    across = torch.corrcoef(found.transpose(0, 1).flatten(1))
    assert (across - torch.eye(3, device=device)).abs().max() < 4.5 / 51_200**0.5


@pytest.mark.parametrize("severity", SEVERITIES)
def test_black_stays_black_under_shot_and_speckle(severity, device) -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8, device=device)
    for kind in ("shot_noise", "speckle_noise"):
        found = KERNELS[kind](images, constants(kind, severity, images), draws(kind, severity, 4, device))
        assert not found.any()
