"""An attack whose success is known beforehand, on a classifier whose logits are the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tests.unit.evaluations.conftest import levels, mirror


@dataclass(frozen=True)
class Push:
    """Lowers the target's pixel and raises the others by `strength` times eps; counts its images."""

    strength: float
    name: str = "push"
    norm: str = "Linf"
    scale: float = 1.0
    noise: float = 0.0
    seen: list[int] = field(default_factory=list, compare=False)
    dies_after: int | None = None

    @property
    def identity(self) -> str:
        return f"{self.name}(strength={self.strength:g},noise={self.noise:g})x{self.scale:g}"

    @property
    def arguments(self) -> dict[str, Any]:
        return {"steps": 1}

    def __call__(self, victim, images, targets, eps, *, seed):
        if self.dies_after is not None and len(self.seen) == self.dies_after:
            raise KeyboardInterrupt
        self.seen.append(len(images))
        draw = torch.Generator().manual_seed(seed)
        strength = self.strength + self.noise * torch.randn(len(images), generator=draw)
        step = (strength.clamp(-1, 1) * eps).to(images).view(-1, 1, 1, 1)
        own = torch.zeros_like(images)
        own[torch.arange(len(images)), targets] = 1
        return (images + step * (1 - 2 * own)).clamp(0, 1)


def staircase(count: int, classes: int = 3):
    """Images of class i % classes whose margin is i + 1 levels of 255; every fifth is misclassified."""
    rows = torch.full((count, classes), 100)
    targets = torch.arange(count) % classes
    for i in range(count):
        rows[i, targets[i]] += i + 1 if i % 5 else -10
    return levels(rows, targets)


def pixels_as_logits(device, classes: int = 3):
    """Logits are the pixels times 255: margins in levels."""
    return mirror(classes).to(device).eval()
