"""Images corrupted by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hugbench.evaluations.corruption.blurs import defocus_blur, gaussian_blur
from hugbench.evaluations.corruption.colour import brightness, contrast, saturate
from hugbench.evaluations.corruption.constants import Row, strength
from hugbench.evaluations.corruption.elastic import elastic_transform
from hugbench.evaluations.corruption.frost import frost, frost_textures
from hugbench.evaluations.corruption.glass import glass_blur
from hugbench.evaluations.corruption.motion import motion_blur
from hugbench.evaluations.corruption.names import EXTRA, KINDS, check_kind, check_severity
from hugbench.evaluations.corruption.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from hugbench.evaluations.corruption.pillow import jpeg_compression, pixelate
from hugbench.evaluations.corruption.randomness import Draws
from hugbench.evaluations.corruption.spatter import spatter
from hugbench.evaluations.corruption.weather import fog, snow
from hugbench.evaluations.corruption.zoom import zoom_blur

__all__ = ["EXTRA", "KERNELS", "KINDS", "corrupt"]

Kernel = Callable[[Tensor, Row, Draws], Tensor]
"""uint8 (B, C, H, W), C in {1, 3}, the constants (`constants.py`) and the randomness; new uint8 images."""

KERNELS: dict[str, Kernel] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "speckle_noise": speckle_noise,
    "gaussian_blur": gaussian_blur,
    "spatter": spatter,
    "saturate": saturate,
}
"""All but frost, which is given its textures, too."""

BLOCK = {True: 1 << 17, False: 1 << 25}
"""Values at a time on a CPU, whose caches then hold what is computed from them, and elsewhere."""


def corrupt(
    images: Tensor,
    kind: str,
    severity: int,
    *,
    seed: int,
    indices: Tensor,
    frost_dir: Path | None = None,
) -> Tensor:
    """Images with a corruption of CIFAR-C or ImageNet-C, on their device.

    What becomes of an image depends on it, on the arguments and on its own index: not on the other
    images of the batch.

    Args:
        images: uint8 (B, C, H, W), C in {1, 3}; left as they are.
        kind: one of `KINDS` or `EXTRA`.
        severity: 1 to 5.
        seed: any integer.
        indices: int64 (B,), which image of its data set each is.
        frost_dir: a folder with the photographs of frost; hugbench's own textures without it.

    Returns:
        uint8 (B, C, H, W).

    Raises:
        UserError: no such corruption or severity.
        ValueError: images or indices of another shape or type.
    """
    check_kind(kind)
    check_severity(severity)
    _check(images, indices)
    constants = strength(kind, severity, *images.shape[-2:])
    if not len(images):
        return images.clone()
    kernel = KERNELS.get(kind) or _frost(constants, images.shape[1], frost_dir)
    changed = torch.empty_like(images, memory_format=torch.contiguous_format)
    count = max(1, BLOCK[images.device.type == "cpu"] // images[:1].numel())
    for first in range(0, len(images), count):
        block = slice(first, first + count)
        draws = Draws(seed, kind, severity, indices[block], images.device)
        changed[block] = kernel(images[block], constants, draws)
    return changed


def _frost(constants: Row, channels: int, folder: Path | None) -> Kernel:
    return partial(frost, textures=frost_textures(constants[2], channels, folder))


def _check(images: Tensor, indices: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8, found {images.dtype}")
    if images.dim() != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(f"images: expected (B, 1 or 3, H, W), found {tuple(images.shape)}")
    if indices.dtype != torch.int64 or indices.shape != images.shape[:1]:
        found = f"{indices.dtype} {tuple(indices.shape)}"
        raise ValueError(f"indices: expected int64 ({len(images)},), one for each image, found {found}")
