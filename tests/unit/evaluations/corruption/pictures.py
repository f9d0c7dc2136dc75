"""Images that corruptions are tested on, and draws that can be drawn once more by the reference."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hugbench.evaluations.corruption.constants import strength
from hugbench.evaluations.corruption.randomness import Draws

SEVERITIES = (1, 2, 3, 4, 5)


def pictures(channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """uint8 (6, C, H, W): black, white, one colour, a ramp, noise, and noise on a smooth ground."""
    generator = np.random.default_rng(seed)
    shape = (channels, height, width)
    ramp = np.linspace(0, 255, height)[:, None] + np.linspace(-99, 99, width)
    images = [
        np.zeros(shape),
        np.full(shape, 255),
        np.broadcast_to(np.array([37, 149, 201])[:channels, None, None], shape),
        np.broadcast_to(ramp, shape),
        generator.integers(0, 256, shape),
        np.broadcast_to(ramp, shape)[::-1, ::-1] + generator.normal(0, 20, shape),
    ]
    return torch.from_numpy(np.clip(np.stack(images), 0, 255).astype(np.uint8))


def draws(kind: str, severity: int, count: int, device: torch.device) -> Draws:
    """Always the same numbers for the same arguments: once for a kernel, once for its reference."""
    return Draws(7, kind, severity, torch.arange(count, device=device))


def constants(kind: str, severity: int, images: Tensor) -> tuple[float, ...]:
    return strength(kind, severity, *images.shape[-2:])


def arrays(images: Tensor) -> list[np.ndarray]:
    """Images as the reference has them: uint8 (H, W, C) one by one."""
    return list(images.cpu().permute(0, 2, 3, 1).numpy())


def difference(found: Tensor, expected: list[np.ndarray]) -> int:
    """The largest difference of two sets of images, in 255ths."""
    assert found.dtype == torch.uint8
    levels = np.stack(arrays(found)).astype(int) - np.stack(expected).astype(int)
    return int(np.abs(levels).max())
