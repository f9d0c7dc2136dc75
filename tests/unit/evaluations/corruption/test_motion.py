"""Motion blur against ImageMagick's algorithm in slow loops, and against streaks that can be worked out.

The loops follow MagickCore/effect.c (GetMotionBlurKernel, MotionBlurImage) and gem.c
(GetOptimalKernelWidth1D) of ImageMagick 6.9 and 7, in quantums of 16 bits (257 times a byte) that are
rounded when they are stored and again when they are written as bytes; a virtual pixel outside the
image is the nearest edge pixel, ImageMagick's default.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hugbench.evaluations.corruption.motion import motion_blur, streak

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures


def slow_streak(image, radius, sigma, angle):
    """One image (H, W, C) by loops over its pixels."""
    width = int(2.0 * math.ceil(radius) + 1.0)
    kernel = [
        math.exp(-(i * i) / (2.0 * sigma * sigma)) / (math.sqrt(2 * math.pi) * sigma) for i in range(width)
    ]
    kernel = [value / sum(kernel) for value in kernel]
    across, along = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    length = math.hypot(across, along)
    offsets = [
        (math.ceil(i * along / length - 0.5), math.ceil(i * across / length - 0.5)) for i in range(width)
    ]
    rows, columns, channels = image.shape
    quantums = image.astype(np.float64) * 257
    result = np.zeros((rows, columns, channels), dtype=np.uint8)
    for y in range(rows):
        for x in range(columns):
            total = np.zeros(channels)
            for weight, (dx, dy) in zip(kernel, offsets, strict=True):
                total += weight * quantums[min(max(y + dy, 0), rows - 1), min(max(x + dx, 0), columns - 1)]
            result[y, x] = np.floor(np.floor(total + 0.5) / 257 + 0.5)
    return result


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_is_within_one_level_of_imagemagick(severity, channels, device):
    images = pictures(channels).to(device)
    of = constants("motion_blur", severity, images)
    found = motion_blur(images, of, draws("motion_blur", severity, len(images), device))
    angles = draws("motion_blur", severity, len(images), device).uniform().double().cpu() * 90 - 45
    expected = [
        slow_streak(image, *of, angle) for image, angle in zip(arrays(images), angles.tolist(), strict=True)
    ]
    assert difference(found, expected) <= 1
    assert (np.stack(arrays(found)) != np.stack(expected)).mean() < 1e-3


@pytest.mark.parametrize(("radius", "sigma"), [(15, 8), (2.3, 1.1)])
def test_any_angle_radius_and_shape(radius, sigma, device):
    images = pictures(1, 11, 17).to(device)
    angles = torch.tensor([-135.0, -90, -45, 0, 45, 170], device=device)
    expected = [
        slow_streak(image, radius, sigma, angle)
        for image, angle in zip(arrays(images), angles.tolist(), strict=True)
    ]
    assert difference(streak(images, radius, sigma, angles), expected) <= 1


def test_a_spot_becomes_half_a_gaussian_to_its_left(device):
    """exp(-i²/2) for i = 0, ..., 4 over their sum 1.75258, times 255."""
    spot = torch.zeros(1, 1, 1, 9, dtype=torch.uint8, device=device)
    spot[..., 6] = 255
    found = streak(spot, 2, 1, torch.zeros(1, device=device))
    assert found.flatten().tolist() == [0, 0, 0, 2, 20, 88, 145, 0, 0]


def test_a_plain_image_stays_as_it_is(device):
    plain = torch.arange(256, dtype=torch.uint8, device=device).view(256, 1, 1, 1).expand(256, 3, 4, 5)
    angles = torch.linspace(-45, 45, 256, device=device)
    assert torch.equal(streak(plain, 6, 2, angles), plain)
