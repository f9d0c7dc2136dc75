"""Softmax cross-entropy on the sphere: NormFace, and the margins of CosFace and ArcFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hugbench.criteria.heads import CosineHead, cross_entropy, non_negative, soft_targets
from hugbench.types import NonNegative, Positive


class NormFace(CosineHead):
    """Softmax cross-entropy over scaled cosines of features and class directions.

    Equation:
        L = −mean_i log softmax(s S_i)_{y_i},  S_ic = ⟨x̂_i, ŵ_c⟩.
        Logits are s S: the loss's own softmax, so they are a probability model as they stand.

    Soft targets t: −mean_i Σ_c t_ic log softmax(s S_i)_c.

    Args:
        scale: s, the inverse temperature. It decides how far the classes can part: the loss cannot
            fall below log(1 + (C − 1) exp(−s C / (C − 1))). 5 to 10 suit CIFAR, 64 faces.

    Source:
        Wang, Xiang, Cheng, Yuille, NormFace: L2 Hypersphere Embedding for Face Verification,
        ACM MM 2017, arXiv 1704.06369.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, scale: Positive = 10.0) -> None:
        super().__init__(in_features, num_classes, scale=scale)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), targets, self.recipe_weights)


class CosFace(CosineHead):
    """NormFace with a margin that is taken from the cosine of the target class.

    Equation:
        L = −mean_i log( e^{s (S_{i,y_i} − m)} / (e^{s (S_{i,y_i} − m)} + Σ_{c≠y_i} e^{s S_ic}) ),
        S_ic = ⟨x̂_i, ŵ_c⟩. Logits are s S, without the margin.

    Soft targets t: class c bears the margin t_ic m, and the cross-entropy is that with t.

    Args:
        scale: s, the inverse temperature; 64 for faces, 10 to 30 for CIFAR.
        margin: m, of the cosine.

    Source:
        Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018,
        arXiv 1801.09414.
    """

    weighting = "recipe"

    def __init__(
        self, in_features: int, num_classes: int, *, scale: Positive = 16.0, margin: NonNegative = 0.35
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale)
        self.margin = non_negative("margin", margin)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        cosine = self.cosines(features)
        margins = self.margin * soft_targets(targets, self.num_classes, cosine)
        return cross_entropy(self.scale * (cosine - margins), targets, self.recipe_weights)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, margin={self.margin!r}"


class ArcFace(CosineHead):
    """NormFace with a margin that is added to the angle of the target class.

    Equation:
        L = −mean_i log( e^{s cos(θ_{i,y_i} + m)} / (e^{s cos(θ_{i,y_i} + m)} + Σ_{c≠y_i} e^{s cos θ_ic}) ),
        cos θ_ic = ⟨x̂_i, ŵ_c⟩. Beyond θ + m = π the cosine would rise again; there cos θ − m sin m
        takes its place, as in the authors' code. Logits are s cos θ, without the margin.

    Soft targets t: class c bears the margin t_ic m, and the cross-entropy is that with t.

    Args:
        scale: s, the inverse temperature; 64 for faces, 10 to 30 for CIFAR.
        margin: m in radians, below π; 0.5 is 28.6°.

    Source:
        Deng, Guo, Xue, Zafeiriou, ArcFace: Additive Angular Margin Loss for Deep Face Recognition,
        CVPR 2019, arXiv 1801.07698.
    """

    weighting = "recipe"

    def __init__(
        self, in_features: int, num_classes: int, *, scale: Positive = 16.0, margin: NonNegative = 0.5
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale)
        if not 0 <= margin < math.pi:
            raise ValueError(f"margin: expected radians from 0 to below π, found {margin}")
        self.margin = margin

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        cosine = self.cosines(features)
        margins = self.margin * soft_targets(targets, self.num_classes, cosine)
        return cross_entropy(self.scale * _add_angle(cosine, margins), targets, self.recipe_weights)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, margin={self.margin!r}"


def _add_angle(cosine: Tensor, angle: Tensor) -> Tensor:
    """cos(θ + angle) given cos θ, continued by cos θ − angle · sin(angle) where θ + angle > π."""
    sine = (1 - cosine**2).clamp_min(torch.finfo(cosine.dtype).eps).sqrt()
    turned = cosine * angle.cos() - sine * angle.sin()
    return torch.where(cosine > -angle.cos(), turned, cosine - angle * angle.sin())
