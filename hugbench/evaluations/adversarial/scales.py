"""At which scales of the logits a cross-entropy attack sees the decision boundary.

Where the softmax of the logits is nearly flat, as that of cosines at scale 1 is, the cross-entropy's
gradient mixes all classes; where it is saturated, the gradient vanishes or rounds to 0. Both make the
attack weak, and the victim look robust. Between them lies the scale at which the gap between the two
largest logits of a typical image is about 10: there PGD on the cross-entropy finds as many images as
attacks on the margin, whatever criterion trained the model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hugbench.evaluations.adversarial.victim import Victim, fooled
from hugbench.models import evaluating

GAP = 10.0
"""What the median gap between the two largest logits is brought to, in nats.

20 steps of PGD at 0.5/255 on four small nets (cross-entropy, NONL, HUG with two intra energies; CIFAR-100,
728 images in all): with the gap at 1, 3, 10, 30, 100 and 300 they left 4.2, 1.1, 0.5, 1.5, 4.1 and 12.5
points more images robust than the best of all attacks; at scale 1 itself 4.1.
"""

FURTHEST = 40
"""Scales are powers of two from -40 to 40."""


def scales(victim: Victim, images: Tensor, targets: Tensor, *, batch_size: int = 500) -> tuple[float, ...]:
    """The scales at which to attack by cross-entropy, ascending: 1, and the one that brings the gap to 10.

    The gap is the median, over the images that are classified correctly (all, where none is), of the
    largest logit minus the second. The rule is the same for every criterion. The scale is the nearest
    power of two, so that it multiplies without rounding and does not change with the last bits of the
    logits.

    Args:
        victim: at the scale that counts as 1.
        images: clean ones, (N, C, H, W) in [0, 1], N at least 1.
        targets: places among the victim's classes, int64 (N,).
        batch_size: images at a time.
    """
    gaps, right = [], []
    with evaluating(victim), torch.no_grad():
        for start in range(0, len(images), batch_size):
            logits = victim(images[start : start + batch_size])
            top = logits.topk(2, dim=1).values
            gaps.append((top[:, 0] - top[:, 1]).cpu())
            right.append(~fooled(logits, targets[start : start + batch_size]).cpu())
    gap, correct = torch.cat(gaps), torch.cat(right)
    median = float((gap[correct] if correct.any() else gap).median())
    if not 0 < median < math.inf:
        return (1.0,)
    exponent = round(math.log2(GAP / median))
    return tuple(sorted({1.0, 2.0 ** max(-FURTHEST, min(FURTHEST, exponent))}))
