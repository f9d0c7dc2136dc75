"""Contrast over the batch: NTCE and NONL against class directions, and supervised contrastive learning."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hugbench.criteria.base import Criterion
from hugbench.criteria.heads import CosineHead, cosines, of_target, positive, soft_targets
from hugbench.criteria.sphere import normalise
from hugbench.types import OpenFraction, Positive


class _BatchContrast(CosineHead):
    """Class directions as anchors that are contrasted with the images of the batch."""

    bounded_logits: ClassVar[bool] = True

    def __init__(self, in_features: int, num_classes: int, *, temperature: float) -> None:
        self.temperature = positive("temperature", temperature)
        super().__init__(in_features, num_classes, scale=1 / temperature)

    def extra_repr(self) -> str:
        return f"{Criterion.extra_repr(self)}, temperature={self.temperature!r}"


class NTCE(_BatchContrast):
    """Cross-entropy over the batch: each class direction must find its image among all images.

    Equation:
        L = −mean_i log( e^{S_{i,y_i}/τ} / Σ_j e^{S_{j,y_i}/τ} ),  S_ic = ⟨x̂_i, ŵ_c⟩, j over the batch.
        Logits are S/τ. The loss has no softmax over classes, so theirs is no probability model.

    Soft targets t: the losses of image i for the classes c, weighted by t_ic.

    Args:
        temperature: τ; the authors' configurations take 0.1 or 0.2.

    Source:
        Koromilas, Giannakopoulos, Nicolaou, Panagakis, Neural Collapse by Design: Learning Class
        Prototypes on the Hypersphere, ICML 2026, arXiv 2605.20302.
    """

    def __init__(self, in_features: int, num_classes: int, *, temperature: Positive = 0.1) -> None:
        super().__init__(in_features, num_classes, temperature=temperature)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(features)
        return of_target(logits.logsumexp(0) - logits, targets).mean()


class NONL(_BatchContrast):
    """NTCE with the negatives only: images of the own class are not in the sum.

    Equation:
        L = −mean_i log( e^{S_{i,y_i}/τ} / Σ_{j: y_j≠y_i} e^{S_{j,y_i}/τ} ),  S_ic = ⟨x̂_i, ŵ_c⟩,
        j over the batch. Logits are S/τ. The loss has no softmax over classes, so theirs is no
        probability model. The loss may be negative.

    An image whose class fills the whole batch has no negatives and is left out of the mean.

    Soft targets t: the losses of image i for the classes c, weighted by t_ic; image j counts in the
    sum of class c with weight 1 − t_jc.

    Args:
        temperature: τ; the authors' configurations take 0.1 or 0.2.

    Source:
        Koromilas, Giannakopoulos, Nicolaou, Panagakis, Neural Collapse by Design: Learning Class
        Prototypes on the Hypersphere, ICML 2026, arXiv 2605.20302.
    """

    def __init__(self, in_features: int, num_classes: int, *, temperature: Positive = 0.1) -> None:
        super().__init__(in_features, num_classes, temperature=temperature)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(features)
        own = soft_targets(targets, self.num_classes, logits)
        contrasted = (own < 1).any(0)
        # The finite floor stands for log 0: a column of −inf would have no gradient but NaN.
        negatives = (logits + (1 - own).clamp_min(0).log().clamp_min(-1e6)).logsumexp(0)
        weights = own * contrasted
        return (weights * (negatives - logits)).sum() / weights.sum().clamp_min(torch.finfo(own.dtype).eps)


class SupCon(Criterion):
    """Supervised contrastive learning with one view per image, predicting by running class means.

    Equation:
        L = mean_i −1/|P(i)| Σ_{p∈P(i)} log( e^{⟨x̂_i, x̂_p⟩/τ} / Σ_{a≠i} e^{⟨x̂_i, x̂_a⟩/τ} ),
        P(i) the other images of the class of i in the batch. Images without any are left out.
        Logits are ⟨x̂, μ̂_c⟩/τ, no probability model.

    The class means μ_c come from the training batches, not from a gradient: wherever class c is in
    a batch, μ_c ← momentum · μ_c + Σ_{i∈c} x̂_i. They are part of the state; only their directions
    count. Before the first training batch they, and the logits, are 0.

    Soft targets t: a pair (i, p) is positive with weight ⟨t_i, t_p⟩, and image i counts for the mean
    of class c with weight t_ic.

    Args:
        temperature: τ.
        momentum: of the class means, per batch: 0.99 remembers some hundred batches.

    Source:
        Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, arXiv 2004.11362: the sum over
        positives outside the logarithm, without the factor for a base temperature. Class means as
        classifier: Koromilas et al., arXiv 2605.20302.
    """

    bounded_logits: ClassVar[bool] = True

    class_means: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        temperature: Positive = 0.1,
        momentum: OpenFraction = 0.99,
    ) -> None:
        super().__init__(in_features, num_classes)
        self.temperature = positive("temperature", temperature)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: expected from 0 to below 1, found {momentum}")
        self.momentum = momentum
        self.register_buffer("class_means", torch.zeros(num_classes, in_features))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            units = normalise(features)
            weights = soft_targets(targets, self.num_classes, units)
            if self.training:
                self._follow(units.detach(), weights)
            itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
            similarity = units @ units.T / self.temperature
            others = similarity.masked_fill(itself, torch.finfo(units.dtype).min)
            log_share = similarity - others.logsumexp(1, keepdim=True)
            positives = (weights @ weights.T).masked_fill(itself, 0)
            count = positives.sum(1)
            losses = (positives * log_share).sum(1) / count.masked_fill(count == 0, 1)
            return -losses.sum() / (count > 0).sum().clamp_min(1)

    def logits(self, features: Tensor) -> Tensor:
        """Cosines with the class means over τ, (B, num_classes), float32 at least."""
        return cosines(features, self.class_means) / self.temperature

    def proxies(self) -> Tensor:
        """The class means, (num_classes, in_features), of any length."""
        return self.class_means

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, temperature={self.temperature!r}, momentum={self.momentum!r}"

    def _follow(self, units: Tensor, weights: Tensor) -> None:
        """Move the means of the classes in the batch: units (B, d), weights (B, C)."""
        present = (weights > 0).any(0).unsqueeze(1)
        kept = torch.where(present, self.momentum, 1.0).to(self.class_means)
        self.class_means.mul_(kept).add_((weights.T @ units).to(self.class_means))
