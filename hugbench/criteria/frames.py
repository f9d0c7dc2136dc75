"""Criteria whose classifier is fixed before training: nothing is left to learn but the features."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.heads import cosines, cross_entropy, of_target, positive
from hugbench.criteria.proxies import uniform_frame
from hugbench.criteria.sphere import widen
from hugbench.criteria.weights import weighted_mean, weighted_sum
from hugbench.types import Positive


class _FixedFrame(Criterion):
    """A criterion with one fixed unit vector per class and cosines as logits."""

    bounded_logits: ClassVar[bool] = True
    by_class: ClassVar[tuple[str, ...]] = ("frame",)

    frame: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("frame", uniform_frame(num_classes, in_features))

    def logits(self, features: Tensor) -> Tensor:
        """Cosines (B, num_classes) in [−1, 1], float32 at least."""
        return cosines(features, self.frame)

    def proxies(self) -> Tensor:
        """The frame, (num_classes, in_features), unit vectors."""
        return self.frame


class ETFDotRegression(_FixedFrame):
    """Dot regression to a fixed simplex equiangular tight frame.

    Equation:
        L = ½ mean_i (⟨x̂_i, m_{y_i}⟩ − 1)²,
        M = √(C/(C−1)) P (I − 11ᵀ/C) with orthonormal columns P: ‖m_c‖ = 1, ⟨m_c, m_c'⟩ = −1/(C−1).
        It pulls towards the own vertex and pushes from no other. Logits are cosines, no probability
        model.

    This is the paper's 1/(2√(E_W E_H)) (⟨x, m⟩ − √(E_W E_H))² with E_W = E_H = 1: features are put on
    the unit sphere, as in the released code, which has a batch normalisation before that. It is half
    of `HypersphericalPrototypes`, where that has a simplex, too.

    The frame is a randomly turned regular simplex: the paper's frames, and it exists for C = d + 1.

    Soft targets t: the mean of the classes' losses with weights t_ic.

    Source:
        Yang et al., Inducing Neural Collapse in Imbalanced Learning: Do We Really Need a Learnable
        Classifier at the End of Deep Neural Network?, NeurIPS 2022, arXiv 2203.09081.

    Raises:
        ValueError: more than in_features + 1 classes, for which there is no simplex.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int) -> None:
        if num_classes > in_features + 1:
            raise ValueError(
                f"num_classes: expected at most in_features + 1 = {in_features + 1} for a simplex, "
                f"found {num_classes}"
            )
        super().__init__(in_features, num_classes)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        losses = of_target((self.logits(features) - 1) ** 2, targets)
        return 0.5 * weighted_mean(losses, targets, self.recipe_weights)


class HypersphericalPrototypes(_FixedFrame):
    """Squared cosine distance to fixed prototypes that lie far apart on the sphere.

    Equation:
        L = Σ_i (1 − cos(x_i, p_{y_i}))², or its mean. Logits are cosines, no probability model.

    The prototypes are a randomly turned regular simplex for C ≤ d + 1, the optimum of the paper's
    separation Σ_c max_{c'≠c} ⟨p_c, p_c'⟩. Above, where the paper descends on that separation, they
    are random directions relaxed by descent on their hyperspherical energy (s = 2).

    Soft targets t: the mean of the classes' losses with weights t_ic.

    Args:
        reduction: over the batch. The paper sums (learning rate 0.01, batch 128); the mean keeps
            the step independent of the batch size.

    Source:
        Mettes, van der Pol, Snoek, Hyperspherical Prototype Networks, NeurIPS 2019,
        arXiv 1901.10514.
    """

    weighting = "recipe"

    def __init__(
        self, in_features: int, num_classes: int, *, reduction: Literal["mean", "sum"] = "mean"
    ) -> None:
        super().__init__(in_features, num_classes)
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction: expected 'mean' or 'sum', found {reduction!r}")
        self.reduction = reduction

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        losses = of_target((1 - self.logits(features)) ** 2, targets)
        if self.reduction == "mean":
            return weighted_mean(losses, targets, self.recipe_weights)
        return weighted_sum(losses, targets, self.recipe_weights)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, reduction={self.reduction!r}"


class MaximumClassSeparation(Criterion):
    """Softmax cross-entropy after one fixed matrix whose columns, one per class, lie as far apart as can be.

    Equation:
        L = −mean_i log softmax(ρ Pᵀ z_i)_{y_i},  z = W x + b in R^{C−1}, not normalised,
        P_1 = (1 −1),  P_k = [1, −1ᵀ/k; 0, √(1 − 1/k²) P_{k−1}],  P = P_{C−1}: unit columns with
        cosines −1/(C−1). Logits are ρ Pᵀ z, the loss's own softmax.

    P is applied as a reflection, in O(C) per image and without storing it; it equals the paper's
    matrix up to a rotation of R^{C−1}, which W takes up.

    Soft targets t: −mean_i Σ_c t_ic log softmax(ρ Pᵀ z_i)_c.

    Args:
        scale: ρ, the length of the class vectors; the paper takes 0.1 for ResNets and 1 for AlexNet.

    Source:
        Kasarla, Burghouts, van Spengler, van der Pol, Cucchiara, Mettes, Maximum Class Separation as
        Inductive Bias in One Matrix, NeurIPS 2022, arXiv 2206.08704.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, scale: Positive = 0.1) -> None:
        super().__init__(in_features, num_classes)
        self.scale = positive("scale", scale)
        linear = nn.Linear(in_features, num_classes - 1)
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), targets, self.recipe_weights)

    def logits(self, features: Tensor) -> Tensor:
        """ρ Pᵀ (W x + b), (B, num_classes)."""
        projected = nn.functional.linear(features, self.weight, self.bias)
        return self.scale * separate(widen(projected))

    def proxies(self) -> Tensor:
        """Pᵀ W, (num_classes, in_features): the features' directions that raise each logit, of any length."""
        return separate(self.weight.T).T

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale!r}"


def separate(z: Tensor) -> Tensor:
    """Inner products with the vertices of a regular simplex, (..., C) from (..., C − 1).

    The vertices are the rows, without their first entry and scaled to length 1, of the Householder
    reflection that takes e₁ to 1/√C (`hugbench.criteria.proxies.simplex` writes them out).
    """
    count = z.shape[-1] + 1
    total = z.sum(-1, keepdim=True)
    products = torch.cat([total / math.sqrt(count), z - total / (count - math.sqrt(count))], dim=-1)
    return products * math.sqrt(count / (count - 1))
