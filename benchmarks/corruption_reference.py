"""The 15 corruptions image by image in NumPy, SciPy and Pillow, at CIFAR-C's severity 3 and 32 × 32.

What `benchmarks/corruption.py` compares with. The steps and libraries are those of `make_cifar_c.py`
(github.com/hendrycks/robustness), but scikit-image, OpenCV and ImageMagick are not needed: their filters
are SciPy's, and motion is blurred by a loop over the 13 pixels of its streak, after a round through PNG
as there.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

Array = np.ndarray
Draw = np.random.Generator


def levels(x: Array) -> Array:
    return np.uint8(np.clip(x, 0, 1) * 255)


def gaussian(x: Array, sigma: float) -> Array:
    return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest")


def gaussian_noise(image: Array, draw: Draw) -> Array:
    x = image / 255.0
    return levels(x + draw.normal(size=x.shape, scale=0.08))


def shot_noise(image: Array, draw: Draw) -> Array:
    return levels(draw.poisson(image / 255.0 * 100) / 100.0)


def impulse_noise(image: Array, draw: Draw) -> Array:
    x = image / 255.0
    flipped, salted = draw.random(x.shape) <= 0.03, draw.random(x.shape) <= 0.5
    x[flipped & salted] = 1
    x[flipped & ~salted] = 0
    return levels(x)


def defocus_blur(image: Array, draw: Draw) -> Array:
    line = np.arange(-8, 9)
    disk = (line[:, None] ** 2 + line**2 <= 0.25).astype(float)
    disk = ndimage.gaussian_filter(disk, 0.6, mode="mirror", radius=1)
    x = image / 255.0
    return levels(np.stack([ndimage.correlate(x[..., c], disk, mode="mirror") for c in range(3)], axis=-1))


def glass_blur(image: Array, draw: Draw) -> Array:
    x = np.uint8(gaussian(image / 255.0, 0.4) * 255)
    for h in range(31, 1, -1):
        for w in range(31, 1, -1):
            dx, dy = draw.integers(-1, 1, size=2)
            x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return levels(gaussian(x / 255.0, 0.4))


def streaked(image: Array, radius: int, sigma: float, angle: float) -> Array:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    image = np.asarray(Image.open(file)).astype(float)
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    right = np.ceil(steps * np.cos(np.deg2rad(angle)) - 0.5).astype(int)
    below = np.ceil(steps * np.sin(np.deg2rad(angle)) - 0.5).astype(int)
    places, total = np.arange(32), np.zeros_like(image)
    for weight, dx, dy in zip(weights / weights.sum(), right, below, strict=True):
        rows, columns = (places + dy).clip(0, 31), (places + dx).clip(0, 31)
        total += weight * image[rows[:, None], columns]
    return np.uint8(total + 0.5)


def motion_blur(image: Array, draw: Draw) -> Array:
    return streaked(image, 6, 2, draw.uniform(-45, 45))


def zoomed(x: Array, factor: float) -> Array:
    kept = int(np.ceil(len(x) / factor))
    top = (len(x) - kept) // 2
    part = ndimage.zoom(x[top : top + kept, top : top + kept], (factor, factor, 1), order=1)
    trim = (len(part) - len(x)) // 2
    return part[trim : trim + len(x), trim : trim + len(x)]


def zoom_blur(image: Array, draw: Draw) -> Array:
    x = (image / 255.0).astype(np.float32)
    factors = np.arange(1, 1.16, 0.01)
    return levels((x + sum(zoomed(x, factor) for factor in factors)) / (len(factors) + 1))


def snow(image: Array, draw: Draw) -> Array:
    x = image.astype(np.float32) / 255
    layer = zoomed(draw.normal(size=(32, 32, 1), loc=0.15, scale=0.3), 1.75)
    layer[layer < 0.55] = 0
    layer = streaked(levels(layer.squeeze()), 10, 4, draw.uniform(-135, -45))[..., None] / 255.0
    grey = (x @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    x = 0.9 * x + 0.1 * np.maximum(x, grey * 1.5 + 0.5)
    return levels(x + layer + np.rot90(layer, k=2))


def frosted(files: list[Path]) -> Callable[[Array, Draw], Array]:
    def frost(image: Array, draw: Draw) -> Array:
        picture = Image.open(files[draw.integers(5)])
        size = round(picture.width * 0.2), round(picture.height * 0.2)
        ice = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        row, column = draw.integers(0, len(ice) - 32), draw.integers(0, ice.shape[1] - 32)
        return np.uint8(np.clip(0.9 * image + 0.4 * ice[row : row + 32, column : column + 32], 0, 255))

    return frost


def fog(image: Array, draw: Draw) -> Array:
    x = image / 255.0
    brightest = x.max()
    x += 0.75 * plasma(draw)[..., None]
    return levels(x * brightest / (brightest + 0.75))


def plasma(draw: Draw) -> Array:
    heights, step, wibble = np.zeros((32, 32)), 32, 100.0

    def around(total: Array) -> Array:
        return total / 4 + wibble * draw.uniform(-wibble, wibble, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        square = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = around(square + np.roll(square, -1, axis=1))
        middles = heights[half::step, half::step]
        corners = heights[::step, ::step]
        upright = middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = around(upright)
        across = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = around(across)
        step, wibble = half, wibble / 2.5
    heights -= heights.min()
    return heights / heights.max()


def brightness(image: Array, draw: Draw) -> Array:
    x = image / 255.0
    value, lowest = x.max(axis=-1), x.min(axis=-1)
    spread = np.where(value > lowest, value - lowest, 1)
    red, green, blue = np.moveaxis(x, -1, 0)
    sector = np.select(
        [blue == value, green == value], [4 + (red - green) / spread, 2 + (blue - red) / spread]
    )
    hue = np.where((blue != value) & (green != value), (green - blue) / spread, sector) % 6
    saturation = np.where(value > 0, (value - lowest) / np.maximum(value, 1e-9), 0)
    value = np.clip(value + 0.15, 0, 1)
    part = hue - np.floor(hue)
    low, falling, rising = (value * (1 - saturation * share) for share in (1, part, 1 - part))
    orders = [
        (value, rising, low), (falling, value, low), (low, value, rising),
        (low, falling, value), (rising, low, value), (value, low, falling),
    ]  # fmt: skip
    sixth = np.floor(hue).astype(np.uint8) % 6
    return levels(np.choose(sixth[..., None], [np.stack(order, axis=-1) for order in orders]))


def contrast(image: Array, draw: Draw) -> Array:
    x = image / 255.0
    means = x.mean(axis=(0, 1), keepdims=True)
    return levels((x - means) * 0.4 + means)


def elastic_transform(image: Array, draw: Draw) -> Array:
    before = np.array([[26, 26, 1], [26, 6, 1], [6, 6, 1]], dtype=float)
    after = before[:, :2] + draw.uniform(-1.92, 1.92, size=(3, 2))
    back = np.linalg.inv(np.vstack([np.linalg.solve(before, after).T, [0, 0, 1]]))
    y, x = np.mgrid[:32, :32].astype(float)
    from_x, from_y, _ = np.tensordot(back, np.stack([x, y, np.ones_like(x)]), axes=1)
    dx, dy = (
        2.56 * ndimage.gaussian_filter(draw.uniform(-1, 1, size=(32, 32)), 1.92, mode="reflect", truncate=3)
        for _ in range(2)
    )
    channels = (image[..., c] / np.float32(255) for c in range(3))
    warped = (ndimage.map_coordinates(c, [from_y, from_x], order=1, mode="mirror") for c in channels)
    moved = [ndimage.map_coordinates(c, [y + dy, x + dx], order=1, mode="reflect") for c in warped]
    return levels(np.stack(moved, axis=-1))


def pixelate(image: Array, draw: Draw) -> Array:
    small = Image.fromarray(image).resize((27, 27), Image.Resampling.BOX)
    return np.asarray(small.resize((32, 32), Image.Resampling.BOX))


def jpeg_compression(image: Array, draw: Draw) -> Array:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=58)
    return np.asarray(Image.open(file))


def references(frost: list[Path]) -> dict[str, Callable[[Array, Draw], Array]]:
    """By kind; `frost` are five pictures of frost of the photographs' size."""
    plain = (
        gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur, snow,
        fog, brightness, contrast, elastic_transform, pixelate, jpeg_compression,
    )  # fmt: skip
    return {**{function.__name__: function for function in plain}, "frost": frosted(frost)}
