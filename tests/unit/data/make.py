"""Small data sets, made by the tests themselves."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, size: tuple[int, int] = (6, 5), channels: int = 3) -> np.ndarray:
    """Random pixels (H, W) or (H, W, 3); `size` is (width, height)."""
    shape = (size[1], size[0], 3) if channels == 3 else (size[1], size[0])
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_folder(
    folder: Path,
    classes: Sequence[str],
    *,
    train: int = 3,
    test: int = 2,
    size: tuple[int, int] = (6, 5),
    channels: int = 3,
    suffix: str = ".png",
) -> Mapping[str, list[np.ndarray]]:
    """`train` and `test` images of every class; returns the pixels of each part, by class and name."""
    written: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    seed = 0
    for part, count in (("train", train), ("test", test)):
        for name in sorted(classes):
            place = folder / part / name
            place.mkdir(parents=True)
            for index in range(count):
                seed += 1
                image = pixels(seed, size, channels)
                Image.fromarray(image).save(place / f"{index:03}{suffix}")
                written[part].append(image)
    return written


def write_idx(
    folder: Path, *, train: int = 20, test: int = 10, compress: bool = False
) -> dict[str, np.ndarray]:
    """The four files of MNIST with random images, labels 0, 1, ..., 9, 0, 1, ...."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        sizes = b"".join(length.to_bytes(4, "big") for length in array.shape)
        content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays


def write_photographs(
    folder: Path, classes: Sequence[str], *, train: int, test: int, part: str = "val"
) -> None:
    """Files as in ImageNet: `train` and `val`, all called .JPEG, of different sizes and kinds."""
    kinds: Sequence[tuple[str, str, Mapping[str, object]]] = (
        ("RGB", "JPEG", {"quality": 90}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGB", "JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", "progressive": True}),  # cut short
    )
    seed = 0
    for name, count in (("train", train), (part, test)):
        for label in classes:
            (folder / name / label).mkdir(parents=True)
            for index in range(count):
                size = (20 + seed * 7 % 41, 18 + seed * 11 % 37)
                mode, form, options = kinds[seed % len(kinds)]
                image = Image.fromarray(pixels(seed, size)).convert(mode)
                image.save(folder / name / label / f"{label}_{index:05}.JPEG", form, **options)
                seed += 1
