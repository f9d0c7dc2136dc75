"""Classification as regression: squared error, and one sigmoid per class."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from hugbench.criteria.heads import LinearHead, positive, soft_targets
from hugbench.criteria.sphere import widen
from hugbench.criteria.weights import weighted_mean
from hugbench.types import Positive


class SquaredError(LinearHead):
    """Squared error to (rescaled) one-hot targets.

    Equation:
        L = mean_i 1/C ( k (z_{i,y_i} − M)² + Σ_{c≠y_i} z_ic² ),  z = W x + b.
        Logits are z, which regress on 0 and M: no probability model.

    Soft targets t: mean_i 1/C Σ_c (1 + (k − 1) t_ic) (z_ic − M t_ic)².

    Args:
        true_class_weight: k. The paper raises it and M where there are many classes (ImageNet:
            k = 15, M = 30), for which 1/C makes the plain loss small.
        target_value: M.

    Source:
        Hui, Belkin, Evaluation of Neural Architectures Trained with Square Loss vs Cross-Entropy in
        Classification Tasks, ICLR 2021, arXiv 2006.07322.
    """

    bounded_logits: ClassVar[bool] = True
    weighting = "recipe"

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        true_class_weight: Positive = 1.0,
        target_value: Positive = 1.0,
    ) -> None:
        super().__init__(in_features, num_classes)
        self.true_class_weight = positive("true_class_weight", true_class_weight)
        self.target_value = positive("target_value", target_value)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = widen(self.logits(features))
        own = soft_targets(targets, self.num_classes, logits)
        errors = (logits - self.target_value * own) ** 2
        losses = (1 + (self.true_class_weight - 1) * own) * errors
        if self.recipe_weights is None:
            return losses.mean()
        return weighted_mean(losses.mean(1), targets, self.recipe_weights)

    def extra_repr(self) -> str:
        mine = f"true_class_weight={self.true_class_weight!r}, target_value={self.target_value!r}"
        return f"{super().extra_repr()}, {mine}"


class SigmoidBCE(LinearHead):
    """Binary cross-entropy with one sigmoid per class, summed over the classes.

    Equation:
        L = −mean_i Σ_c ( t_ic log σ(z_ic) + (1 − t_ic) log(1 − σ(z_ic)) ),  z = W x + b,
        t the one-hot label or the soft target. Logits are z: log odds of each class by itself.

    The bias starts at −log(C − 1), so every class starts with probability about 1/C.

    Source:
        Kornblith, Chen, Lee, Norouzi, Why Do Better Loss Functions Lead to Less Transferable
        Features?, NeurIPS 2021, arXiv 2010.16402; Beyer et al., Are we done with ImageNet?,
        arXiv 2006.07159.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        nn.init.constant_(self.bias, -math.log(num_classes - 1))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = widen(self.logits(features))
        own = soft_targets(targets, self.num_classes, logits)
        losses = nn.functional.binary_cross_entropy_with_logits(logits, own, reduction="none")
        return weighted_mean(losses.sum(1), targets, self.recipe_weights)
