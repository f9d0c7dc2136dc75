"""What several criteria share: a linear or a cosine head, soft targets, and checks of arguments."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.sphere import normalise
from hugbench.criteria.weights import weighted_mean


class LinearHead(Criterion):
    """A criterion whose logits are W x + b, with PyTorch's initialisation of a linear layer."""

    by_class: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        linear = nn.Linear(in_features, num_classes)
        self.weight, self.bias = linear.weight, linear.bias

    def logits(self, features: Tensor) -> Tensor:
        """W x + b, (B, num_classes)."""
        return nn.functional.linear(features, self.weight, self.bias)

    def proxies(self) -> Tensor:
        """The rows of W, (num_classes, in_features), of any length."""
        return self.weight


class CosineHead(Criterion):
    """A criterion whose logits are scaled cosines s ⟨x̂, ŵ_c⟩ with one learnt direction per class."""

    by_class: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, in_features: int, num_classes: int, *, scale: float) -> None:
        super().__init__(in_features, num_classes)
        self.scale = positive("scale", scale)
        self.weight = nn.Parameter(torch.randn(num_classes, in_features) / in_features**0.5)

    def cosines(self, features: Tensor) -> Tensor:
        """Cosines (B, num_classes) in [−1, 1], float32 at least, also inside autocast."""
        return cosines(features, self.weight)

    def logits(self, features: Tensor) -> Tensor:
        """s cos, (B, num_classes), in [−s, s]: what the loss's softmax sees without a margin."""
        return self.scale * self.cosines(features)

    def proxies(self) -> Tensor:
        """The directions' weights, (num_classes, in_features), of any length."""
        return self.weight

    def no_weight_decay(self) -> set[str]:
        """The directions, whose length means nothing: decay would only change their learning rate."""
        return {"weight"}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale!r}"


def cosines(features: Tensor, directions: Tensor) -> Tensor:
    """Cosines (B, C) of features (B, d) with directions (C, d), float32 at least, 0 at zero vectors."""
    with torch.autocast(features.device.type, enabled=False):
        return normalise(features) @ normalise(directions).T


def cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """The mean softmax cross-entropy, weighted by class if wanted (`hugbench.criteria.weights`).

    Args:
        logits: (B, C).
        targets: labels (B,), or soft targets (B, C) of any floating-point type.
        class_weights: (C,), positive; None for none.
        label_smoothing: share of each target spread over all classes.
    """
    if targets.is_floating_point():
        targets = targets.to(logits)
    if class_weights is None:
        return nn.functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    losses = nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)
    return weighted_mean(losses, targets, class_weights)


def soft_targets(targets: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """Labels (B,) as one-hot rows (B, num_classes), soft targets as they are, of the dtype of `like`."""
    if targets.is_floating_point():
        return targets.to(like)
    return like.new_zeros(len(targets), num_classes).scatter_(1, targets.unsqueeze(1), 1)


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """values[i, y_i] for labels, Σ_c t_ic values[i, c] for soft targets: (B,) from (B, C)."""
    if targets.is_floating_point():
        return (targets.to(values) * values).sum(1)
    return values.gather(1, targets.unsqueeze(1)).squeeze(1)


def positive(name: str, value: float) -> float:
    """The value.

    Raises:
        ValueError: it is not positive and finite.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a positive finite number, found {value}")
    return value


def non_negative(name: str, value: float) -> float:
    """The value.

    Raises:
        ValueError: it is negative or not finite.
    """
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}: expected a finite number not below 0, found {value}")
    return value
