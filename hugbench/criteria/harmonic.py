"""The harmonic loss: probabilities from powers of distances to class centres."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.heads import cross_entropy, positive
from hugbench.criteria.sphere import widen
from hugbench.types import Positive

SMALLEST_SQUARE = 1e-4


class Harmonic(Criterion):
    """Cross-entropy of probabilities that fall with a power of the distance to each class centre.

    Equation:
        L = −mean_i log( d_{i,y_i}^−n / Σ_c d_ic^−n ),  d_ic = √(‖x_i − w_c‖² + 1e-4).
        Logits are −n log d, whose softmax is that probability.

    The 1e-4 is that of the authors' code: it bounds the gradient at a centre. Their code raises the
    squared distance to the power −n; its n is half of this one.

    Soft targets t: −mean_i Σ_c t_ic log of the probability of class c.

    Args:
        exponent: n; None takes √in_features.

    Source:
        Baek, Liu, Tyagi, Tegmark, Harmonic Loss Trains Interpretable AI Models, TMLR 2025,
        arXiv 2502.01628.
    """

    by_class: ClassVar[tuple[str, ...]] = ("centres",)
    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, exponent: Positive | None = None) -> None:
        super().__init__(in_features, num_classes)
        self.exponent = positive("exponent", in_features**0.5 if exponent is None else exponent)
        self.centres = nn.Parameter(torch.randn(num_classes, in_features) / in_features**0.5)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), targets, self.recipe_weights)

    def logits(self, features: Tensor) -> Tensor:
        """−n log d, (B, num_classes), float32 at least."""
        with torch.autocast(features.device.type, enabled=False):
            x, centres = widen(features), widen(self.centres)
            squares = (x**2).sum(1, keepdim=True) + (centres**2).sum(1) - 2 * x @ centres.T
            return -self.exponent / 2 * (squares.clamp_min(0) + SMALLEST_SQUARE).log()

    def proxies(self) -> Tensor:
        """The class centres, (num_classes, in_features), of any length."""
        return self.centres

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, exponent={self.exponent!r}"
