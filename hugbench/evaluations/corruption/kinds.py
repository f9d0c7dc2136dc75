"""Images corrupted by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hugbench.evaluations.corruption.constants import Row, strength
from hugbench.evaluations.corruption.frost import frost, frost_textures
from hugbench.evaluations.corruption.glass import glass_blur
from hugbench.evaluations.corruption.motion import motion_blur
from hugbench.evaluations.corruption.names import EXTRA, KINDS, check_kind, check_severity
from hugbench.evaluations.corruption.randomness import Draws
from hugbench.evaluations.corruption.weather import fog, snow
from hugbench.evaluations.corruption.zoom import zoom_blur

__all__ = ["EXTRA", "KERNELS", "KINDS", "corrupt"]

Kernel = Callable[[Tensor, Row, Draws], Tensor]
"""uint8 (B, C, H, W), C in {1, 3}, the constants (`constants.py`) and the randomness; new uint8 images."""

KERNELS: dict[str, Kernel] = {
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "fog": fog,
}
"""All but frost, which is given its textures, too."""


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
    draws = Draws(seed, kind, severity, indices, images.device)
    if kind == "frost":
        return frost(images, constants, draws, frost_textures(constants[2], images.shape[1], frost_dir))
    return KERNELS[kind](images, constants, draws)


def _check(images: Tensor, indices: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8, found {images.dtype}")
    if images.dim() != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(f"images: expected (B, 1 or 3, H, W), found {tuple(images.shape)}")
    if indices.dtype != torch.int64 or indices.shape != images.shape[:1]:
        found = f"{indices.dtype} {tuple(indices.shape)}"
        raise ValueError(f"indices: expected int64 ({len(images)},), one for each image, found {found}")
