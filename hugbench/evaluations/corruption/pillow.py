"""What Pillow does to images one by one, on the CPU: pixels of several pixels, and JPEG."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hugbench.evaluations.corruption.constants import Row
from hugbench.evaluations.corruption.randomness import Draws


def pixelate(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """Box-filtered down to `factor` times the size (rounded down, at least 1 pixel), and back."""
    (factor,) = constants
    height, width = images.shape[-2:]
    small = max(1, int(width * factor)), max(1, int(height * factor))

    def pixelated(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    return _each(pixelated, images)


def jpeg_compression(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """Saved as JPEG of `quality` and read again."""
    (quality,) = constants

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(quality))
        return Image.open(file)

    return _each(compressed, images)


def _each(change: Callable[[Image.Image], Image.Image], images: Tensor) -> Tensor:
    pixels = images.permute(0, 2, 3, 1).cpu().contiguous().numpy()
    changed = np.empty_like(pixels)
    for before, after in zip(pixels, changed, strict=True):
        after[:] = np.asarray(
            change(Image.fromarray(before.squeeze(2) if before.shape[2] == 1 else before))
        ).reshape(after.shape)
    return torch.from_numpy(changed).permute(0, 3, 1, 2).contiguous().to(images.device)
