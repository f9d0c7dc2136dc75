"""Zoom blur against SciPy's enlargements, added up one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from hugbench.evaluations.corruption.zoom import zoom_blur, zoom_matrix

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures


def clipped(image, factor):
    """The middle of a square image (H, H, C), enlarged by SciPy to the size that it had."""
    side = image.shape[0]
    kept = math.ceil(side / factor)
    first = (side - kept) // 2
    middle = image[first : first + kept, first : first + kept]
    enlarged = ndimage.zoom(middle, (factor, factor, 1), order=1)
    trim = (enlarged.shape[0] - side) // 2
    return enlarged[trim : trim + side, trim : trim + side]


def slow_zoom_blur(image, stop, step):
    x = (image / 255.0).astype(np.float32)
    factors = np.arange(1, stop, step)
    total = np.zeros_like(x)
    for factor in factors:
        total += clipped(x, factor)
    return np.uint8(np.clip((x + total) / (len(factors) + 1), 0, 1) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8), (1, 28)])
def test_is_within_one_level_of_the_reference(severity, channels, side, device):
    images = pictures(channels, side, side).to(device)
    of = constants("zoom_blur", severity, images)
    found = zoom_blur(images, of, draws("zoom_blur", severity, len(images), device))
    assert difference(found, [slow_zoom_blur(image, *of) for image in arrays(images)]) <= 1


def test_is_within_one_level_of_the_reference_at_imagenets_size(device):
    images = pictures(3, 224, 224)[-1:].to(device)
    of = constants("zoom_blur", 5, images)
    found = zoom_blur(images, of, draws("zoom_blur", 5, 1, device))
    assert difference(found, [slow_zoom_blur(image, *of) for image in arrays(images)]) <= 1


@pytest.mark.parametrize("factor", [1, 1.01, 1.13, 1.75, 2.25, 4])
def test_matrix_interpolates_between_the_kept_pixels(factor):
    """Row i of the enlargement lies at i (kept - 1) / (rows - 1) of the kept pixels."""
    length = 32
    matrix = zoom_matrix(length, factor)
    kept = math.ceil(length / factor)
    rows = round(kept * factor)
    for row in range(length):
        place = (row + (rows - length) // 2) * (kept - 1) / (rows - 1)
        below, part = math.floor(place), place % 1
        expected = np.zeros(length)
        expected[(length - kept) // 2 + below] = 1 - part
        if part:
            expected[(length - kept) // 2 + below + 1] = part
        assert matrix[row] == pytest.approx(expected, abs=1e-9)


def test_images_need_not_be_square(device):
    """Rows and columns are enlarged each about their own middle: a transposed image gives the transposed blur."""
    images = pictures(3, 20, 33).to(device)
    found = zoom_blur(images, (1.16, 0.01), draws("zoom_blur", 3, len(images), device))
    turned = zoom_blur(images.mT.contiguous(), (1.16, 0.01), draws("zoom_blur", 3, len(images), device))
    assert torch.equal(found, turned.mT)
