"""Weights of classes from their numbers of training images, and the mean that they weigh."""

from __future__ import annotations

from torch import Tensor

from hugbench.suite.schema import ClassWeights


def class_weights(class_counts: Tensor, spec: ClassWeights) -> Tensor:
    """The weights that a recipe asks for, (C,) in float64 on the CPU, summing to C.

    Args:
        class_counts: images per class, (C,); a class without images counts as one image.
        spec: which weights.
    """
    if spec.kind == "inverse_frequency":
        return inverse_frequency_weights(class_counts)
    return effective_number_weights(class_counts, spec.beta)


def effective_number_weights(class_counts: Tensor, beta: float) -> Tensor:
    """Weights (C,) in float64 on the CPU, proportional to (1 − β) / (1 − β^n), that sum to C.

    Args:
        class_counts: images per class, (C,); a class without images counts as one image.
        beta: in [0, 1); 0 weighs all classes the same.

    Source:
        Cui, Jia, Lin, Song, Belongie, Class-Balanced Loss Based on Effective Number of Samples,
        CVPR 2019, arXiv 1901.05555, section 3.
    """
    return _summing_to_their_number(1 / (1 - beta ** at_least_one(class_counts)))


def inverse_frequency_weights(class_counts: Tensor) -> Tensor:
    """Weights (C,) in float64 on the CPU, proportional to 1/n, that sum to C.

    Args:
        class_counts: images per class, (C,); a class without images counts as one image.
    """
    return _summing_to_their_number(1 / at_least_one(class_counts))


def weighted_mean(losses: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Σ_i v_i ℓ_i / Σ_i v_i, where image i weighs what its class does: v_i = Σ_c t_ic v_c.

    Args:
        losses: ℓ, (B,).
        targets: labels int64 (B,), or soft targets (B, C).
        weights: v, (C,), positive; None for the plain mean.
    """
    if weights is None:
        return losses.mean()
    own = _own(losses, targets, weights)
    return (own * losses).sum() / own.sum()


def weighted_sum(losses: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Σ_i v_i ℓ_i; see `weighted_mean`."""
    return losses.sum() if weights is None else (_own(losses, targets, weights) * losses).sum()


def first_epoch(after: float, epochs: int) -> int:
    """The epoch, counted from 0, before which a fraction `after` of the epochs has passed."""
    return round(after * epochs)


def at_least_one(class_counts: Tensor) -> Tensor:
    """The counts in float64 on the CPU (MPS has none), each at least 1."""
    return class_counts.detach().cpu().double().clamp_min(1)


def _own(losses: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The weight of each image, (B,)."""
    weights = weights.to(losses)
    return targets.to(losses) @ weights if targets.is_floating_point() else weights[targets]


def _summing_to_their_number(weights: Tensor) -> Tensor:
    return weights * (len(weights) / weights.sum())
