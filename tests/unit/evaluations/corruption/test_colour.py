"""Brightness, contrast and saturation against loops over pixels; greyscale as grey RGB."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from hugbench.evaluations.corruption.colour import brightness, contrast, luma, saturate
from hugbench.evaluations.corruption.kinds import KERNELS

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures


def slow_hsv(image, change):
    """Python's own conversions, a pixel at a time."""
    changed = np.empty_like(image)
    for place in np.ndindex(image.shape[:2]):
        hsv = change(*colorsys.rgb_to_hsv(*(image[place] / 255.0)))
        changed[place] = [int(min(max(value, 0), 1) * 255) for value in colorsys.hsv_to_rgb(*hsv)]
    return changed


def slow_brightness(image, more):
    return slow_hsv(image, lambda h, s, v: (h, s, min(v + more, 1)))


def slow_saturate(image, factor, more):
    return slow_hsv(image, lambda h, s, v: (h, min(s * factor + more, 1), v))


def slow_contrast(image, factor):
    changed = np.empty_like(image)
    for channel in range(image.shape[2]):
        values = image[..., channel] / 255.0
        mean = sum(values.flat) / values.size
        for place in np.ndindex(values.shape):
            value = (values[place] - mean) * factor + mean
            changed[(*place, channel)] = int(min(max(value, 0), 1) * 255)
    return changed


SLOW = {"brightness": slow_brightness, "saturate": slow_saturate, "contrast": slow_contrast}


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("side", [16, 224])
def test_is_within_one_level_of_the_reference(kind, severity, side, device) -> None:
    images = pictures(3, 16, 12).to(device)
    row = constants(kind, severity, torch.empty(1, 3, side, side))
    found = KERNELS[kind](images, row, draws(kind, severity, len(images), device))
    assert difference(found, [SLOW[kind](image, *row) for image in arrays(images)]) <= 1


BRIGHTER = [[12, 251, 37], [255, 0, 128], [58, 58, 58], [91, 92, 255]]
SATURATED = [[0, 200, 21], [255, 0, 128], [7, 6, 6], [0, 1, 250]]


def test_scikit_images_own_values(device) -> None:
    """scikit-image 0.26 on four colours, whose rounding decides on the level."""
    colours = torch.tensor([[10, 200, 30], [255, 0, 128], [7, 7, 7], [90, 91, 250]], dtype=torch.uint8)
    images = colours[:, :, None, None].to(device)
    assert brightness(images, (0.2,), draws("x", 1, 4, device)).flatten(1).tolist() == BRIGHTER
    assert saturate(images, (2, 0.1), draws("x", 1, 4, device)).flatten(1).tolist() == SATURATED


def test_grey_pixels_become_red_when_saturated(device) -> None:
    grey = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8, device=device)
    assert saturate(grey, (2.5, 0.2), draws("x", 1, 1, device)).flatten().tolist() == [100, 80, 80]


@pytest.mark.parametrize("kind", ["brightness", "saturate", "spatter"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_greyscale_is_the_luma_of_grey_rgb(kind, severity, device) -> None:
    images = pictures(1, 28, 28).to(device)
    row = constants(kind, severity, images)
    found = KERNELS[kind](images, row, draws(kind, severity, 6, device))
    coloured = KERNELS[kind](images.repeat(1, 3, 1, 1), row, draws(kind, severity, 6, device))
    assert torch.equal(found, luma(coloured))
    if kind == "brightness":
        assert torch.equal(coloured, found.expand_as(coloured))


def test_luma_is_pillows(device) -> None:
    images = torch.randint(
        0, 256, (1, 3, 60, 60), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    expected = np.asarray(Image.fromarray(images[0].permute(1, 2, 0).numpy()).convert("L"))
    np.testing.assert_array_equal(luma(images.to(device))[0, 0].cpu().numpy(), expected)
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(luma(grey.repeat(1, 3, 1, 1)), grey)


def test_contrast_keeps_the_mean_of_every_channel(device) -> None:
    images = pictures(3, 20, 20)[3:].to(device)
    found = contrast(images, (0.5,), draws("contrast", 2, 3, device))
    moved = found.double().mean(dim=(2, 3)) - images.double().mean(dim=(2, 3))
    assert -1 <= moved.min() <= moved.max() <= 0  # truncation takes up to one level
