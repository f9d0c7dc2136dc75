"""How well a score tells images of the training distribution from others. In float64 on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

METRICS = ("auroc", "fpr_at_95_tpr", "aupr_in", "aupr_out")


def detection(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """Every number of `METRICS`, for a score that is larger inside the distribution.

    An image is taken to be inside if its score is at least a threshold; in all but aupr_out the images inside
    are the positive ones. Ties are never broken: equal scores pass a threshold together.

    auroc: area under the ROC curve, the chance that an image inside scores higher than one outside, ties
        counted half. 0.5 is no information.
    fpr_at_95_tpr: fraction of the images outside that pass the largest threshold that at least 95 % of those
        inside pass; not interpolated.
    aupr_in: Σ_i (R_i − R_{i−1}) P_i over all thresholds (average precision), inside being positive; aupr_out:
        outside being positive, found by low scores. Both sides weigh the same, however many images they have
        (P = TPR / (TPR + FPR)), so that sets of different sizes can be compared: 0.5 is no information,
        and with equal numbers it is the usual average precision.

    Args:
        inside: scores of the images inside, finite (N,).
        outside: scores of the images outside, finite (M,).

    Raises:
        ValueError: a side without images, or a score that is not finite.

    Source:
        Hendrycks, Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
        Networks, ICLR 2017, arXiv 1610.02136, section 2.
    """
    for name, side in (("inside", inside), ("outside", outside)):
        if not len(side):
            raise ValueError(f"{name}: expected scores of at least one image, found none")
        if not torch.isfinite(side).all():
            raise ValueError(f"{name}: expected finite scores, found NaN or infinity")
    positive, negative = inside.cpu().double(), outside.cpu().double()
    tpr, fpr = _rates(positive, negative)
    enough = int((100 * (tpr * len(positive)).round() >= 95 * len(positive)).nonzero()[0])
    return {
        "auroc": float(torch.trapezoid(_from_zero(tpr), _from_zero(fpr))),
        "fpr_at_95_tpr": float(fpr[enough]),
        "aupr_in": _average_precision(positive, negative),
        "aupr_out": _average_precision(-negative, -positive),
    }


def _rates(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Fractions of each side that pass each threshold (all scores, falling), float64 (L,)."""
    levels = torch.unique(torch.cat([positive, negative])).flip(0)
    tpr, fpr = (
        (len(side) - torch.searchsorted(side.sort().values, levels)).double() / len(side)
        for side in (positive, negative)
    )
    return tpr, fpr


def _average_precision(positive: Tensor, negative: Tensor) -> float:
    recall, fall_out = _rates(positive, negative)
    return float((torch.diff(_from_zero(recall)) * recall / (recall + fall_out)).sum())


def _from_zero(rates: Tensor) -> Tensor:
    """Rates from the threshold that nothing passes on."""
    return torch.cat([torch.zeros(1, dtype=rates.dtype), rates])
