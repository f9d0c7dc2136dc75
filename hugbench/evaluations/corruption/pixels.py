"""Between uint8 images and the numbers that corruptions are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def to_unit(images: Tensor) -> Tensor:
    """uint8 images in [0, 1], in float64 as the reference has them (where the device has it)."""
    return quotient(images.to(precise(images.device)), 255)


def to_bytes(x: Tensor) -> Tensor:
    """x, clipped to [0, 1], as uint8; cut off, not rounded, as the reference does it."""
    return (x.clamp(0, 1) * 255).to(torch.uint8)


def quotient(x: Tensor, divisor: float) -> Tensor:
    """x / divisor, rounded alike on every device: some multiply by the reciprocal of a plain number."""
    return x / x.new_tensor(divisor)


def precise(device: torch.device) -> torch.dtype:
    """The most precise floating type of a device."""
    return torch.float32 if device.type == "mps" else torch.float64
