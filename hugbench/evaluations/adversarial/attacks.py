"""The attacks that a suite can name, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from hugbench.evaluations.adversarial.victim import Victim

Norm = Literal["Linf", "L2"]


@dataclass(frozen=True)
class Attack:
    """One attack with all its arguments but eps: hashable by `identity`, callable on a batch.

    Attributes:
        name: as a suite names it, e.g. apgd_ce.
        norm: of the ball.
        arguments: every argument, defaults included.
        scale: what the victim's logits are multiplied with while it is attacked.
    """

    name: str
    norm: Norm
    arguments: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def identity(self) -> str:
        """Canonical text of all of it: equal for equal attacks, used in the ledger."""
        raise NotImplementedError

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, eps: float, *, seed: int) -> Tensor:
        """Adversarial images: inside the ball of radius eps around the images, and in [0, 1], both asserted.

        Deterministic given its arguments; torch's generators, modes and gradients are as before.

        Args:
            victim: at scale 1; attacked at `scale`.
            images: float32 (B, C, H, W) in [0, 1], on the victim's device.
            targets: places among the victim's classes, int64 (B,).
            eps: radius, in the units of images in [0, 1].
            seed: of whatever the attack draws.
        """
        raise NotImplementedError
