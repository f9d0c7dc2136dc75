"""A loss of one's own, as an example: `hugbench run SUITE --criterion baselines/my_loss.py:MyLoss`."""

from __future__ import annotations

from torch import Tensor, nn

from hugbench import Criterion
from hugbench.types import NonNegative, Positive


class MyLoss(Criterion):
    """Softmax over scaled dot products, with a price on large normalisers.

    Equation:
        L = mean_i [−log softmax(z_i)_{y_i} + z_weight (log Σ_c exp z_ic)²], z = scale (W x + b).

    Args:
        scale: of the logits; the larger, the sharper the softmax.
        z_weight: of the second term, which keeps the logits from drifting; 0 is plain softmax.

    Source:
        The second term is the z-loss of Chowdhery et al., PaLM, arXiv 2204.02311.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, scale: Positive = 1.0, z_weight: NonNegative = 1e-4
    ) -> None:
        super().__init__(in_features, num_classes)
        self.head, self.scale, self.z_weight = nn.Linear(in_features, num_classes), scale, z_weight

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(features)
        price = logits.logsumexp(1).square().mean()
        return nn.functional.cross_entropy(logits, targets) + self.z_weight * price

    def logits(self, features: Tensor) -> Tensor:
        return self.scale * self.head(features)
