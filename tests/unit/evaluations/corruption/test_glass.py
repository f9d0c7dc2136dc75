"""Glass blur against pixels that are swapped one by one in NumPy, as the reference swaps them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from hugbench.evaluations.corruption.gaussian import gaussian_filter
from hugbench.evaluations.corruption.glass import glass_blur

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures


def blurred(image, sigma):
    return ndimage.gaussian_filter(image / 255.0, (sigma, sigma, 0), mode="nearest", truncate=4)


def slow_glass(image, sigma, reach, rounds, offsets):
    """One image (H, W, C); offsets are (dx, dy) in the order of the visits."""
    height, width, _ = image.shape
    x = np.uint8(blurred(image, sigma) * 255)
    offsets = iter(offsets)
    for _ in range(rounds):
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dx, dy = next(offsets)
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]  # rows are views: this copies
    return np.uint8(np.clip(blurred(x, sigma), 0, 1) * 255)


def slow_batch(images, sigma, reach, rounds, numbers):
    inner = [max(0, length - 2 * reach) for length in images.shape[-2:]]
    offsets = numbers.integers(2 * reach, rounds, *inner, 2).cpu().reshape(len(images), -1, 2) - reach
    return [
        slow_glass(image, sigma, reach, rounds, shifts.tolist())
        for image, shifts in zip(arrays(images), offsets, strict=True)
    ]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_equals_the_reference(severity, device):
    images = pictures().to(device)
    of = constants("glass_blur", severity, images)
    found = glass_blur(images, of, draws("glass_blur", severity, len(images), device))
    expected = slow_batch(images, *of, draws("glass_blur", severity, len(images), device))
    assert difference(found, expected) <= (0 if device.type == "cpu" else 1)


@pytest.mark.parametrize(("reach", "rounds"), [(2, 1), (2, 3), (3, 2), (4, 2)])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (13, 21), (8, 8)])
def test_follows_chains_of_pixels_at_the_reach_of_large_images(reach, rounds, height, width, device):
    images = pictures(1, height, width).to(device)
    found = glass_blur(images, (0.7, reach, rounds), draws("glass_blur", 3, len(images), device))
    expected = slow_batch(images, 0.7, reach, rounds, draws("glass_blur", 3, len(images), device))
    assert difference(found, expected) <= (0 if device.type == "cpu" else 1)


def test_a_pixel_of_an_earlier_visit_is_handed_on(device):
    """All offsets are dx = dy = 1: every visited pixel ends up with the value right below the last visited."""

    class Always:
        def integers(self, high, *shape):
            return torch.full((1, *shape), high - 1, device=device)

    images = torch.arange(64, dtype=torch.uint8, device=device).view(1, 1, 8, 8)
    found = glass_blur(images, (0.1, 2, 1), Always())[0, 0]
    diagonal = [int(found[i, i]) for i in range(8)]
    assert diagonal == [0, 9, 18, 63, 63, 63, 63, 63]
    assert found[2].tolist() == images[0, 0, 2].tolist()


@pytest.mark.parametrize("sigma", [0.05, 0.25, 0.4, 1.0, 2.3])
def test_gaussian_filter_is_scipys_bit_for_bit(sigma):
    x = np.random.default_rng(0).random((3, 2, 17, 9))
    expected = ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest")
    assert np.array_equal(gaussian_filter(torch.from_numpy(x), sigma).numpy(), expected)
