"""What attacks maximise, per image: all but the cross-entropy are blind to the scale of the logits."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy as _cross_entropy

from hugbench.evaluations.adversarial.victim import margins

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of logits (B, K) and targets int64 (B,): (B,), the larger the worse for the victim."""

TINY = 1e-12


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of softmax(logits), in nats."""
    return _cross_entropy(logits, targets, reduction="none")


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """The largest other logit minus the target's: it follows scale and ignores shift."""
    return -margins(logits, targets)


def dlr(logits: Tensor, targets: Tensor) -> Tensor:
    """Difference of logits ratio, −(z_y − max_{j≠y} z_j) / (z_(1) − z_(3)); arXiv 2003.01690, equation 6.

    Blind to shift and scale. With two classes there is no third logit (and without it the ratio would
    be constant): the margin, which a sign or a direction of steps makes as blind to scale.
    """
    if logits.shape[1] < 3:
        return margin(logits, targets)
    top = logits.topk(3, dim=1).values
    return margin(logits, targets) / (top[:, 0] - top[:, 2] + TINY)


def targeted_dlr(aims: Tensor) -> Loss:
    """−(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2), t being each image's aim; arXiv 2003.01690, equation 7.

    With two or three classes in play there is no fourth logit: the difference alone.

    Args:
        aims: int64 (B,).
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        own = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
        aimed = logits.gather(1, aims.unsqueeze(1)).squeeze(1)
        if logits.shape[1] < 4:
            return aimed - own
        top = logits.topk(4, dim=1).values
        return (aimed - own) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + TINY)

    return loss
