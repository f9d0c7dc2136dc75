"""Softmax cross-entropy over a linear head: the baseline."""

from __future__ import annotations

from torch import Tensor

from hugbench.criteria.heads import LinearHead, cross_entropy
from hugbench.criteria.sphere import widen
from hugbench.types import Fraction


class CrossEntropy(LinearHead):
    """Softmax cross-entropy, with label smoothing if wanted.

    Equation:
        L = −mean_i Σ_c q_ic log softmax(W x_i + b)_c,  q = (1 − λ) t + λ/C, t the one-hot label
        or the soft target, λ the label smoothing.

    Args:
        label_smoothing: λ, the share of the target spread over all classes.

    Source:
        Label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer Vision,
        CVPR 2016, arXiv 1512.00567, section 7.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, label_smoothing: Fraction = 0.0) -> None:
        super().__init__(in_features, num_classes)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing: expected between 0 and 1, found {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of the batch."""
        logits = widen(self.logits(features))
        return cross_entropy(logits, targets, self.recipe_weights, self.label_smoothing)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{super().extra_repr()}, label_smoothing={self.label_smoothing!r}"
