"""Out of focus and Gaussian blur against SciPy's filters image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from hugbench.evaluations.corruption.blurs import defocus_blur, disk, gaussian_blur
from hugbench.evaluations.corruption.filters import folded, neighbours, smooth, stencil

from .pictures import SEVERITIES, arrays, constants, difference, draws, pictures


def slow_disk(radius, smoothing):
    """The reference's kernel: OpenCV smooths it with pixels mirrored at its border."""
    reach, taps = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    kernel = np.array(
        [[x * x + y * y <= radius**2 for x in range(-reach, reach + 1)] for y in range(-reach, reach + 1)],
        dtype=float,
    )
    kernel /= kernel.sum()
    line = [math.exp(-(k**2) / (2 * smoothing**2)) for k in range(-taps, taps + 1)]
    line = np.array(line) / sum(line)
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, line, axis=axis, mode="mirror")
    return kernel


def slow_defocus(image, radius, smoothing):
    kernel = slow_disk(radius, smoothing)
    channels = [
        ndimage.correlate(image[..., c] / 255.0, kernel, mode="mirror") for c in range(image.shape[2])
    ]
    return np.uint8(np.clip(np.stack(channels, axis=-1), 0, 1) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 8, 8), (1, 28, 20)])
def test_defocus(severity, channels, height, width, device) -> None:
    images = pictures(channels, height, width).to(device)
    row = constants("defocus_blur", severity, images)
    expected = [slow_defocus(image, *row) for image in arrays(images)]
    assert difference(defocus_blur(images, row, draws("defocus_blur", severity, 6, device)), expected) <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_of_large_images(severity, device) -> None:
    images = pictures(1, 100, 120)[4:].to(device)
    row = constants("defocus_blur", severity, torch.empty(1, 1, 224, 224))
    expected = [slow_defocus(image, *row) for image in arrays(images)]
    assert difference(defocus_blur(images, row, draws("defocus_blur", severity, 2, device)), expected) <= 1


@pytest.mark.parametrize("radius", [0.3, 1, 1.5, 3, 8, 9.3, 10])
def test_disk(radius) -> None:
    np.testing.assert_allclose(disk(radius, 0.5), slow_disk(radius, 0.5), atol=1e-15)


def test_disks_as_opencv_makes_them() -> None:
    """Values of OpenCV 5.0: the sum is above 1 where mirroring at the kernel's border doubles its rim."""
    assert disk(8, 0.5).sum() == pytest.approx(1.0129755, abs=1e-6)
    assert disk(10, 0.5).sum() == pytest.approx(1.0107858, abs=1e-6)
    assert disk(6, 0.5).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8), (3, 90)])
def test_gaussian_equals_the_reference(severity, channels, side, device) -> None:
    images = pictures(channels, side, side).to(device)
    row = constants("gaussian_blur", severity, images)
    expected = [
        np.uint8(np.clip(ndimage.gaussian_filter(image / 255.0, (*row, *row, 0), mode="nearest"), 0, 1) * 255)
        for image in arrays(images)
    ]
    assert difference(gaussian_blur(images, row, draws("gaussian_blur", severity, 6, device)), expected) == 0


def test_plain_images_stay_as_they_are(device) -> None:
    images = torch.arange(256, dtype=torch.uint8, device=device)[:, None, None, None].repeat(1, 1, 9, 9)
    for severity in (1, 2, 3, 4, 5):
        found = defocus_blur(images, constants("defocus_blur", severity, images), draws("x", 1, 256, device))
        assert torch.equal(found, images)


@pytest.mark.parametrize("border", ["reflect", "mirror"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_borders(border, size) -> None:
    reach = 3 * size + 1
    padded = np.pad(np.arange(size), reach, mode="symmetric" if border == "reflect" else "reflect")
    np.testing.assert_array_equal(folded(np.arange(-reach, size + reach), size, border), padded)


@pytest.mark.parametrize("sigma", [0, 0.4, 2, 6.4, 60])
def test_smooth(sigma, device) -> None:
    fields = torch.rand(3, 17, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = [
        ndimage.gaussian_filter(field.double().numpy(), sigma, mode="reflect", truncate=3) for field in fields
    ]
    found = smooth(fields.to(device), sigma, truncate=3.0).cpu().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_stencil_of_a_spot(device) -> None:
    weights = np.array([[0, 0.25, 0], [0.125, 0.25, 0], [0.375, 0, 0]])
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8, device=device)
    image[..., 2, 2] = 80
    found = stencil(image, weights)[0, 0]
    expected = torch.zeros(5, 5, dtype=torch.uint8)
    expected[1:4, 1:4] = torch.tensor([[0, 0, 30], [0, 20, 10], [0, 20, 0]])
    assert torch.equal(found.cpu(), expected)


def test_neighbours(device) -> None:
    values = torch.randint(-50, 50, (2, 6, 5), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    weights = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
    expected = [ndimage.correlate(value.numpy(), np.array(weights), mode="mirror") for value in values]
    np.testing.assert_array_equal(neighbours(values.to(device), weights).cpu().numpy(), expected)
