"""Criteria for long-tailed data: by weight, by prior, by margin.

Those that need the number of training images per class get it through `start_training` and keep
what they derive from it in buffers. Before, and for classes without images, a class counts as one
image, so all classes weigh the same.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hugbench.criteria.heads import (
    CosineHead,
    LinearHead,
    cross_entropy,
    non_negative,
    of_target,
    soft_targets,
)
from hugbench.criteria.sphere import widen
from hugbench.criteria.weights import at_least_one, effective_number_weights, first_epoch, weighted_mean
from hugbench.types import Fraction, NonNegative, NonNegativeInt, OpenFraction, Positive


class Focal(LinearHead):
    """Focal loss: cross-entropy in which well classified images weigh less.

    Equation:
        L = −mean_i (1 − p_{i,y_i})^γ log p_{i,y_i},  p_i = softmax(W x_i + b).
        Logits are W x + b.

    Soft targets t: −mean_i Σ_c t_ic (1 − p_ic)^γ log p_ic.

    Args:
        gamma: γ; 0 is cross-entropy.

    Source:
        Lin, Goyal, Girshick, He, Dollár, Focal Loss for Dense Object Detection, ICCV 2017,
        arXiv 1708.02002, with a softmax in place of sigmoids.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, gamma: NonNegative = 2.0) -> None:
        super().__init__(in_features, num_classes)
        self.gamma = non_negative("gamma", gamma)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        losses = of_target(_focal(widen(self.logits(features)), self.gamma), targets)
        return weighted_mean(losses, targets, self.recipe_weights)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gamma={self.gamma!r}"


class ClassBalanced(LinearHead):
    """Cross-entropy, or focal loss, with every class weighted by its effective number of images.

    Equation:
        L = −mean_i v_{y_i} (1 − p_{i,y_i})^γ log p_{i,y_i},  p_i = softmax(W x_i + b),
        v_c ∝ (1 − β) / (1 − β^{n_c}) with Σ_c v_c = C. Logits are W x + b.

    Soft targets t: −mean_i Σ_c t_ic v_c (1 − p_ic)^γ log p_ic.

    Args:
        beta: β; 0 weighs all classes the same, towards 1 the weights become 1/n_c.
        gamma: γ of the focal factor; 0 is cross-entropy.

    Source:
        Cui, Jia, Lin, Song, Belongie, Class-Balanced Loss Based on Effective Number of Samples,
        CVPR 2019, arXiv 1901.05555.
    """

    by_class: ClassVar[tuple[str, ...]] = (*LinearHead.by_class, "class_weights")
    weighting = "own"

    class_weights: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        beta: OpenFraction = 0.9999,
        gamma: NonNegative = 0.0,
    ) -> None:
        super().__init__(in_features, num_classes)
        self.beta, self.gamma = _open_fraction("beta", beta), non_negative("gamma", gamma)
        self.register_buffer("class_weights", torch.ones(num_classes))

    def start_training(self, class_counts: Tensor) -> None:
        """Derive the weights from the counts."""
        self.class_weights.copy_(effective_number_weights(class_counts, self.beta))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        losses = self.class_weights * _focal(widen(self.logits(features)), self.gamma)
        return of_target(losses, targets).mean()

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, beta={self.beta!r}, gamma={self.gamma!r}"


class _PriorHead(LinearHead):
    """A linear head that knows how frequent each class is in training."""

    by_class: ClassVar[tuple[str, ...]] = (*LinearHead.by_class, "log_prior")

    log_prior: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("log_prior", torch.full((num_classes,), 1 / num_classes).log())

    def start_training(self, class_counts: Tensor) -> None:
        """Derive the prior from the counts."""
        counts = at_least_one(class_counts)
        self.log_prior.copy_((counts / counts.sum()).log())


class BalancedSoftmax(_PriorHead):
    """Softmax cross-entropy in which a class's exponential counts as often as it has images.

    Equation:
        L = −mean_i log( n_{y_i} e^{z_{i,y_i}} / Σ_c n_c e^{z_ic} ),  z = W x + b.
        Logits are z: made for a test set in which all classes are equally frequent.

    Soft targets t: the cross-entropy with t.

    Source:
        Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020,
        arXiv 2007.10740. It is `LogitAdjustment` with tau 1.
    """

    weighting = "recipe"

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(widen(self.logits(features)) + self.log_prior, targets, self.recipe_weights)


class LogitAdjustment(_PriorHead):
    """Softmax cross-entropy over logits that the class prior has been added to.

    Equation:
        L = −mean_i log softmax(z_i + τ log π)_{y_i},  z = W x + b,  π_c = n_c / Σ n.
        Logits are z: made for a test set in which all classes are equally frequent.

    Soft targets t: the cross-entropy with t.

    Args:
        tau: τ; 0 is cross-entropy.

    Source:
        Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314:
        the logit-adjusted loss.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, tau: NonNegative = 1.0) -> None:
        super().__init__(in_features, num_classes)
        self.tau = non_negative("tau", tau)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(
            widen(self.logits(features)) + self.tau * self.log_prior, targets, self.recipe_weights
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tau={self.tau!r}"


class PostHocLogitAdjustment(_PriorHead):
    """Plain cross-entropy whose logits lose the class prior when the model is evaluated.

    Equation:
        L = −mean_i log softmax(z_i)_{y_i},  z = W x + b.
        Logits are z − τ log π in evaluation mode, z in training mode; π_c = n_c / Σ n.

    Soft targets t: the cross-entropy with t.

    Args:
        tau: τ; 0 is cross-entropy.

    Source:
        Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, arXiv 2007.07314:
        post-hoc logit adjustment.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, tau: NonNegative = 1.0) -> None:
        super().__init__(in_features, num_classes)
        self.tau = non_negative("tau", tau)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(widen(super().logits(features)), targets, self.recipe_weights)

    def logits(self, features: Tensor) -> Tensor:
        """z − τ log π in evaluation mode, z in training mode, (B, num_classes)."""
        logits = super().logits(features)
        return logits if self.training else logits - self.tau * self.log_prior

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tau={self.tau!r}"


class LDAM(CosineHead):
    """Larger cosine margins for rarer classes; late in training, larger weights too (DRW).

    Equation:
        L = Σ_i v_{y_i} ℓ_i / Σ_i v_{y_i},  ℓ_i = −log softmax(s (S_i − Δ_{y_i} e_{y_i}))_{y_i},
        S_ic = ⟨x̂_i, ŵ_c⟩, e_y the one-hot label, Δ_c = m (n_min / n_c)^¼. v = 1 at first; once
        deferred re-weighting starts, v_c ∝ (1 − β) / (1 − β^{n_c}) with Σ_c v_c = C.
        Logits are s S, without the margins.

    Soft targets t: class c bears the margin t_ic Δ_c, image i weighs Σ_c t_ic v_c, and ℓ_i is the
    cross-entropy with t.

    Args:
        max_margin: m, the margin of the rarest class.
        scale: s.
        beta: β of the effective number of images.
        reweight_after: the fraction of the epochs after which re-weighting starts (160 of 200 in
            the paper); 1 is never.
        reweight_epoch: the epoch, counted from 0, at which it starts, in place of the fraction.

    Source:
        Cao, Wei, Gaidon, Arechiga, Ma, Learning Imbalanced Datasets with Label-Distribution-Aware
        Margin Loss, NeurIPS 2019, arXiv 1906.07413; scale and weighted mean as in the authors' code.
    """

    by_class: ClassVar[tuple[str, ...]] = (
        *CosineHead.by_class,
        "margins",
        "balanced_weights",
        "class_weights",
    )
    weighting = "own"

    margins: Tensor
    balanced_weights: Tensor
    class_weights: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        max_margin: NonNegative = 0.5,
        scale: Positive = 30.0,
        beta: OpenFraction = 0.9999,
        reweight_after: Fraction = 0.8,
        reweight_epoch: NonNegativeInt | None = None,
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale)
        self.max_margin, self.beta = non_negative("max_margin", max_margin), _open_fraction("beta", beta)
        if not 0 <= reweight_after <= 1:
            raise ValueError(f"reweight_after: expected between 0 and 1, found {reweight_after}")
        if reweight_epoch is not None and reweight_epoch < 0:
            raise ValueError(f"reweight_epoch: expected an epoch from 0, found {reweight_epoch}")
        self.reweight_after, self.reweight_epoch = reweight_after, reweight_epoch
        self.register_buffer("margins", torch.full((num_classes,), float(max_margin)))
        self.register_buffer("balanced_weights", torch.ones(num_classes))
        self.register_buffer("class_weights", torch.ones(num_classes))

    def start_training(self, class_counts: Tensor) -> None:
        """Derive margins and weights from the counts."""
        counts = at_least_one(class_counts)
        self.margins.copy_(self.max_margin * (counts.min() / counts) ** 0.25)
        self.balanced_weights.copy_(effective_number_weights(class_counts, self.beta))

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Take up the weights once it is time."""
        start = self.reweight_epoch
        if start is None:
            start = first_epoch(self.reweight_after, epochs)
        if epoch >= start:
            self.class_weights.copy_(self.balanced_weights)
        else:
            self.class_weights.fill_(1)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        cosine = self.cosines(features)
        own = soft_targets(targets, self.num_classes, cosine)
        return cross_entropy(self.scale * (cosine - self.margins * own), targets, self.class_weights)

    def extra_repr(self) -> str:
        names = ("max_margin", "beta", "reweight_after", "reweight_epoch")
        mine = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{super().extra_repr()}, {mine}"


def _focal(logits: Tensor, gamma: float) -> Tensor:
    """−(1 − p)^γ log p for every class, (B, C)."""
    log_p = logits.log_softmax(1)
    # Where p is 1 to rounding, a power below 1 would have an infinite slope.
    doubt = (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).eps)
    return -(doubt**gamma) * log_p


def _open_fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected from 0 to below 1, found {value}")
    return value
