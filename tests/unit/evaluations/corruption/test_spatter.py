"""Spatter and the elastic transform of the same draws, against the reference's formulas image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from hugbench.evaluations.corruption.elastic import elastic_transform
from hugbench.evaluations.corruption.spatter import spatter

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures
from .test_edges import slow_canny, slow_distances, slow_equalised


def slow_light(liquid):
    """From the depth of the liquid to how bright it is, at most 1."""
    height = np.minimum(slow_distances(slow_canny(liquid, 50, 150), 20), 20)
    height = (ndimage.uniform_filter(height, 3, mode="mirror") + 1e-6).astype(np.uint8)
    relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    slope = ndimage.correlate(slow_equalised(height).astype(int), relief, mode="mirror").clip(0, 255)
    light = np.rint(ndimage.correlate(slope, np.ones((3, 3), dtype=int), mode="mirror") / 9)
    bright = liquid * light
    return bright / bright.max() if bright.max() else bright


def slow_spatter(image, noise, mean, deviation, sigma, threshold, water, mud):
    x = image / 255.0
    liquid = ndimage.gaussian_filter(mean + deviation * noise, sigma, mode="nearest")
    liquid[liquid < threshold] = 0
    if mud:
        cover = ndimage.gaussian_filter((liquid > threshold).astype(float), mud, mode="nearest")
        cover[cover < 0.8] = 0
        x = x * (1 - cover[..., None]) + cover[..., None] * (np.array([63, 42, 20]) / 255)
    else:
        light = water * slow_light((liquid * 255).astype(np.uint8))
        x = x + light[..., None] * (np.array([175, 238, 238]) / 255)
    return np.uint8(np.clip(x, 0, 1) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("side", [32, 224])
def test_spatter(severity, side, device) -> None:
    images = pictures(3, 20, 26).to(device)
    row = constants("spatter", severity, torch.empty(1, 3, side, side))
    noise = draws("spatter", severity, len(images), device).normal(20, 26).double().cpu().numpy()
    expected = [slow_spatter(image, field, *row) for image, field in zip(arrays(images), noise, strict=True)]
    found = spatter(images, row, draws("spatter", severity, len(images), device))
    assert difference(found, expected) <= 1
    assert any((image != before).any() for image, before in zip(expected, arrays(images), strict=True))


def test_an_image_without_a_drop_stays_as_it_is(device) -> None:
    images = pictures().to(device)
    dry = (0.1, 0.01, 1.0, 0.7, 0.5, 0)
    assert torch.equal(spatter(images, dry, draws("spatter", 1, 6, device)), images)


def slow_elastic(image, corners, along_x, along_y, shift, sigma, affine):
    """Corners (3, 2) and shifts (H, W) are uniform in [0, 1)."""
    height, width = image.shape[:2]
    middle, third = np.array([height // 2, width // 2]), min(height, width) // 3
    before = np.array([middle + third, [middle[0] + third, middle[1] - third], middle - third], dtype=float)
    after = before + affine * (2 * corners - 1)
    forth = np.linalg.solve(np.column_stack([before, np.ones(3)]), after).T  # (2, 3), as OpenCV's
    back = np.linalg.inv(np.vstack([forth, [0, 0, 1]]))
    y, x = np.mgrid[:height, :width].astype(float)
    from_x, from_y, _ = np.tensordot(back, np.stack([x, y, np.ones_like(x)]), axes=1)
    warped = [
        ndimage.map_coordinates(image[..., c] / 255.0, [from_y, from_x], order=1, mode="mirror")
        for c in range(image.shape[2])
    ]
    dx, dy = (
        shift * ndimage.gaussian_filter(2 * field - 1, sigma, mode="reflect", truncate=3)
        for field in (along_x, along_y)
    )
    moved = [
        ndimage.map_coordinates(channel, [y + dy, x + dx], order=1, mode="reflect") for channel in warped
    ]
    return np.uint8(np.clip(np.stack(moved, axis=-1), 0, 1) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    ("channels", "height", "width"), [(3, 32, 32), (1, 8, 8), (1, 28, 28), (3, 24, 33), (1, 120, 100)]
)
def test_elastic(severity, channels, height, width, device) -> None:
    images = pictures(channels, height, width).to(device)
    row = constants("elastic_transform", severity, images)
    source = draws("elastic_transform", severity, len(images), device)
    corners = source.uniform(3, 2).double().cpu().numpy()
    fields = torch.zeros(2, len(images), height, width, dtype=torch.float64)
    if row[0]:
        fields = [source.uniform(height, width).double().cpu() for _ in range(2)]
    fields = [field.numpy() for field in fields]
    expected = [
        slow_elastic(image, *numbers, *row)
        for image, *numbers in zip(arrays(images), corners, *fields, strict=True)
    ]
    found = elastic_transform(images, row, draws("elastic_transform", severity, len(images), device))
    apart = np.abs(np.stack(arrays(found)).astype(int) - np.stack(expected))
    assert apart.max() <= (1 if height < 85 else 3)  # shifts of ImageNet-C are up to 500 pixels
    assert (apart > 1).mean() < 0.01


def test_plain_images_are_elastic_without_a_trace(device) -> None:
    images = torch.arange(256, dtype=torch.uint8, device=device)[:, None, None, None].repeat(1, 1, 16, 16)
    for severity in SEVERITIES:
        row = constants("elastic_transform", severity, images)
        found = elastic_transform(images, row, draws("elastic_transform", severity, 256, device))
        assert torch.equal(found, images)


def test_the_affine_part_moves_the_corners(device) -> None:
    """All corners by one pixel to the right, or the image turned by a quarter about its middle."""

    class Fixed:
        def __init__(self, numbers):
            self.numbers = torch.tensor(numbers, device=device)[None]

        def uniform(self, *shape):
            assert shape == (3, 2)
            return self.numbers

    images = pictures(1, 33, 33)[4:5].to(device)
    found = elastic_transform(images, (0, 0, 1.0), Fixed([[1.0, 0.5]] * 3))
    assert torch.equal(found[..., 1:], images[..., :-1])
    assert torch.equal(found[..., 0], images[..., 1])  # mirrored at the border's pixels
    # the half side is 11: (27, 27), (27, 5), (5, 5) go to (5, 27), (27, 27), (27, 5)
    turned = [[(-22 / 44) + 0.5, 0.5], [0.5, 22 / 44 + 0.5], [22 / 44 + 0.5, 0.5]]
    found = elastic_transform(images, (0, 0, 22.0), Fixed(turned))
    assert torch.equal(found, images.rot90(-1, (2, 3)))
