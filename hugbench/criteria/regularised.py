"""Cross-entropy with something added: an energy of the class weights, or logits of one length."""

from __future__ import annotations

from torch import Tensor

from hugbench.criteria.heads import LinearHead, cross_entropy, non_negative, positive
from hugbench.criteria.sphere import check_exponent, normalise, widen
from hugbench.criteria.uniformity import hyperspherical_energy
from hugbench.types import NonNegative, Positive


class CrossEntropyMHE(LinearHead):
    """Softmax cross-entropy plus the hyperspherical energy of the class weights.

    Equation:
        L = −mean_i log softmax(W x_i + b)_{y_i} + λ · mean_{c≠c'} K_s(‖ŵ_c − ŵ_c'‖),
        K_s(ρ) = ρ^−s (s > 0), −log ρ (s = 0), −ρ^−s (s < 0). Logits are W x + b.

    Soft targets t: the cross-entropy with t; the energy does not see targets.

    Args:
        energy_weight: λ; 10 is that of the output layer in the authors' code.
        s: the exponent.

    Source:
        Liu et al., Learning towards Minimum Hyperspherical Energy, NeurIPS 2018, arXiv 1805.09298.
    """

    weighting = "recipe"

    def __init__(
        self, in_features: int, num_classes: int, *, energy_weight: NonNegative = 10.0, s: float = 2.0
    ) -> None:
        super().__init__(in_features, num_classes)
        check_exponent("s", s, "chord")
        self.energy_weight = non_negative("energy_weight", energy_weight)
        self.s = s

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        fit = cross_entropy(widen(self.logits(features)), targets, self.recipe_weights)
        return fit + self.energy_weight * hyperspherical_energy(self.weight, self.s)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, energy_weight={self.energy_weight!r}, s={self.s!r}"


class LogitNorm(LinearHead):
    """Softmax cross-entropy over logits that are scaled to one length.

    Equation:
        L = −mean_i log softmax(z_i / (τ ‖z_i‖))_{y_i},  z = W x + b.
        Logits are z / (τ ‖z‖), the loss's own softmax; the authors' out-of-distribution scores use z.

    Soft targets t: −mean_i Σ_c t_ic log softmax(z_i / (τ ‖z_i‖))_c.

    Args:
        temperature: τ. The smaller, the closer a softmax can come to one-hot.

    Source:
        Wei, Xie, Cheng, Feng, An, Li, Mitigating Neural Network Overconfidence with Logit
        Normalization, ICML 2022, arXiv 2205.09310.
    """

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int, *, temperature: Positive = 0.04) -> None:
        super().__init__(in_features, num_classes)
        self.temperature = positive("temperature", temperature)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(self.logits(features), targets, self.recipe_weights)

    def logits(self, features: Tensor) -> Tensor:
        """z / (τ ‖z‖), (B, num_classes), in [−1/τ, 1/τ], float32 at least; 0 where z is 0."""
        return normalise(super().logits(features)) / self.temperature

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, temperature={self.temperature!r}"
