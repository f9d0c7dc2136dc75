"""Fog, plasma and snow against the reference's formulas in slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hugbench.evaluations.corruption.plasma import plasma, plasma_side
from hugbench.evaluations.corruption.weather import fog, snow

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures
from .test_motion import slow_streak
from .test_zoom import clipped


def slow_plasma(numbers, side, decay):
    """Diamond-square by loops over the points of the grid; indices wrap around."""
    numbers = iter(numbers)
    z = np.zeros((side, side))
    step, wibble = side, 100.0

    def about(total):
        return total / 4 + wibble * (-wibble + 2 * wibble * next(numbers))

    while step >= 2:
        half = step // 2
        grid = [(i, j) for i in range(0, side, step) for j in range(0, side, step)]
        for i, j in grid:
            below, right = (i + step) % side, (j + step) % side
            z[i + half, j + half] = about((z[i, j] + z[below, j]) + (z[i, right] + z[below, right]))
        for i, j in grid:
            right = (j + step) % side
            z[i, j + half] = about((z[i + half, j + half] + z[i - half, j + half]) + (z[i, j] + z[i, right]))
        for i, j in grid:
            below = (i + step) % side
            z[i + half, j] = about((z[i + half, j + half] + z[i + half, j - half]) + (z[i, j] + z[below, j]))
        step, wibble = half, wibble / decay
    z -= z.min()
    return z / z.max()


def slow_fog(image, thickness, decay, numbers):
    height, width, _ = image.shape
    x = image / 255.0
    brightest = x.max()
    x += thickness * slow_plasma(numbers, round((len(numbers) + 1) ** 0.5), decay)[:height, :width, None]
    return np.uint8(np.clip(x * brightest / (brightest + thickness), 0, 1) * 255)


def slow_snow(image, mean, deviation, factor, threshold, radius, sigma, kept, noise, angle):
    layer = clipped((mean + deviation * noise)[..., None], factor)
    layer[layer < threshold] = 0
    layer = slow_streak(np.uint8(np.clip(layer, 0, 1) * 255), radius, sigma, angle) / 255.0
    x = image.astype(np.float32) / 255
    grey = x if x.shape[2] == 1 else x @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32)
    x = kept * x + (1 - kept) * np.maximum(x, grey * 1.5 + 0.5)
    return np.uint8(np.clip(x + layer + np.rot90(layer, 2), 0, 1) * 255)


@pytest.mark.parametrize("side", [2, 8, 32])
@pytest.mark.parametrize("decay", [3, 1.75])
def test_plasma_equals_the_reference_bit_for_bit(side, decay, device):
    numbers = draws("fog", 1, 3, device).uniform(side * side - 1).double()
    found = plasma(numbers, decay).cpu().numpy()
    for row, each in zip(numbers.cpu().numpy(), found, strict=True):
        assert np.array_equal(each, slow_plasma(row, side, decay))


def test_plasma_covers_the_image():
    sides = {(32, 32): 32, (33, 20): 64, (28, 28): 32, (8, 8): 8, (1, 1): 2, (224, 200): 256}
    assert {shape: plasma_side(*shape) for shape in sides} == sides


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 28, 28), (3, 8, 11)])
def test_fog_equals_the_reference_bit_for_bit(severity, channels, height, width, device):
    images = pictures(channels, height, width).to(device)
    of = constants("fog", severity, images)
    found = fog(images, of, draws("fog", severity, len(images), device))
    side = plasma_side(height, width)
    numbers = draws("fog", severity, len(images), device).uniform(side * side - 1).double().cpu().numpy()
    expected = [slow_fog(image, *of, row) for image, row in zip(arrays(images), numbers, strict=True)]
    assert difference(found, expected) == 0


def same_draws(images, severity, device):
    height, width = images.shape[-2:]
    numbers = draws("snow", severity, len(images), device)
    noise = numbers.normal(height, width).double().cpu().numpy()
    return noise, (numbers.uniform().double().cpu() * 90 - 135).tolist()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8)])
def test_snow_is_the_references_of_the_same_draws(severity, channels, side, device):
    """Up to one level of rounding for the image and for each of the two layers of flakes."""
    images = pictures(channels, side, side).to(device)
    of = constants("snow", severity, images)
    found = snow(images, of, draws("snow", severity, len(images), device))
    noise, angles = same_draws(images, severity, device)
    expected = [
        slow_snow(*each[:1], *of, *each[1:]) for each in zip(arrays(images), noise, angles, strict=True)
    ]
    assert difference(found, expected) <= 3
    assert (np.stack(arrays(found)) != np.stack(expected)).mean() < 0.01


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_snow_in_distribution(severity, device):
    """Share of flakes, mean and deviation on black images, against the reference with draws of its own."""
    images = torch.zeros(200, 1, 16, 16, dtype=torch.uint8, device=device)
    of = constants("snow", severity, images)
    found = snow(images, of, draws("snow", severity, len(images), device)).cpu().numpy() / 255
    generator = np.random.default_rng(1)
    expected = np.stack(
        [
            slow_snow(image, *of, generator.normal(size=(16, 16)), generator.uniform(-135, -45)) / 255
            for image in arrays(images[:60])
        ]
    )
    ground = np.uint8((1 - of[-1]) * 0.5 * 255) / 255
    for measure in (
        lambda x: (x > ground).mean((1, 2, 3)),
        lambda x: x.mean((1, 2, 3)),
        lambda x: x.std((1, 2, 3)),
    ):
        ours, theirs = measure(found), measure(expected)
        error = np.hypot(ours.std() / len(ours) ** 0.5, theirs.std() / len(theirs) ** 0.5)
        assert abs(ours.mean() - theirs.mean()) <= 4 * error
