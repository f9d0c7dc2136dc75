"""Pixelate against a loop of Pillow's box filter, JPEG against files on the disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hugbench.evaluations.corruption.pillow import jpeg_compression, pixelate

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures


def resized(line, size):
    """A line of pixels (n, ...) under Pillow's box filter: means of the pixels whose middle is covered."""
    scale = len(line) / size
    reach = max(scale, 1) / 2
    means = []
    for place in range(size):
        middle = (place + 0.5) * scale
        first, last = max(int(middle - reach + 0.5), 0), min(int(middle + reach + 0.5), len(line))
        covered = [k for k in range(first, last) if -reach < k + 0.5 - middle <= reach]
        means.append(np.floor(line[covered].astype(float).mean(axis=0) + 0.5))
    return np.array(means)


def slow_pixelate(image, factor):
    height, width = image.shape[:2]
    small = (max(1, int(height * factor)), max(1, int(width * factor)))
    for rows, columns in (small, (height, width)):
        image = resized(image.swapaxes(0, 1), columns).swapaxes(0, 1)
        image = resized(image, rows)
    return image.astype(np.uint8)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 90, 100)])
def test_pixelate(severity, channels, height, width, device) -> None:
    images = pictures(channels, height, width).to(device)
    row = constants("pixelate", severity, images)
    expected = [slow_pixelate(image, *row) for image in arrays(images)]
    assert difference(pixelate(images, row, draws("pixelate", severity, 6, device)), expected) <= 1


def test_half_the_pixels_are_means_of_four(device) -> None:
    images = torch.tensor([[0, 8, 100, 100], [4, 4, 100, 200]], dtype=torch.uint8, device=device)[None, None]
    expected = [[4, 4, 125, 125]] * 2
    assert pixelate(images, (0.5,), draws("pixelate", 1, 1, device))[0, 0].tolist() == expected


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 28), (1, 8), (3, 224)])
def test_jpeg(severity, channels, side, device, tmp_path) -> None:
    images = pictures(channels, side, side).to(device)
    (quality,) = row = constants("jpeg_compression", severity, images)
    expected = []
    for number, image in enumerate(arrays(images)):
        file = tmp_path / f"{number}.jpg"
        mode = "RGB" if channels == 3 else "L"
        Image.frombytes(mode, (side, side), image.tobytes()).save(file, quality=quality)
        expected.append(np.array(Image.open(file)).reshape(image.shape))
    assert (
        difference(jpeg_compression(images, row, draws("jpeg_compression", severity, 6, device)), expected)
        == 0
    )
