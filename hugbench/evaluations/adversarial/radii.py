"""Checks over radii and over the grid of 8 bits."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from hugbench.evaluations.adversarial.ball import lengths
from hugbench.evaluations.adversarial.evidence import Check, Figure, judged, no_worse_than_warn
from hugbench.evaluations.adversarial.gradients import STEPS, Probed
from hugbench.evaluations.adversarial.losses import dlr, margin
from hugbench.evaluations.adversarial.probe import Way, climb, direction, misled

MULTIPLES = (2, 4)
"""Of eps, for the sweep after 0 and eps; the diameter of [0, 1] comes last."""

RISES = 0.05
"""Share of images by which accuracy may rise with eps: a few long steps do a little worse than short ones,
by 2 points on trained nets, by up to 8 on nets that know nothing yet."""

REMAINS = 0.02
"""Share of images that may be left in a ball that holds all images."""

LEVELS = 255

ROUNDED_AWAY = 0.05
"""Share of images whose attack does not survive 8 bits, from which on the figure is said to rest on
perturbations that no file of 8 bits can hold."""

SHRINKS = (1.0, 0.98, 0.95, 0.9, 0.8)


def sweep(figure: Figure, probed: Probed) -> list[Check]:
    """Accuracy under a cheap attack as the ball grows: it never rises, and ends at 0 with the whole box.

    What is fooled in a smaller ball counts as fooled in the box, where DLR is tried as well.
    """
    radii = [multiple * figure.eps for multiple in MULTIPLES]
    radii = [*(radius for radius in radii if radius < figure.diameter), figure.diameter]
    images, targets = figure.images[probed.places], figure.targets[probed.places]
    ways = [*(Way(margin, radius) for radius in radii), Way(dlr, figure.diameter)]
    found = climb(figure.victim, images, targets, ways, figure.norm, steps=STEPS)
    fooled = torch.stack([probed.many.fooled[-2], *found.fooled])
    counts = [len(images), *(~fooled[:-1]).sum(dim=1).tolist()]
    rise = max(later - earlier for earlier, later in pairwise(counts))
    total = len(figure.images)
    told = "largest rise of accuracy as the ball grows"
    left = f"robust at {figure.norm} {figure.diameter:g}, which holds all images"
    return [
        judged("eps_sweep", max(0, rise), total, told, RISES),
        judged("whole_box", int((~fooled.any(dim=0)).sum()), total, left, REMAINS),
    ]


def eight_bits(figure: Figure, probed: Probed) -> Check:
    """Attacks that are lost by rounding to 8 bits inside the ball.

    Below 1/255 the ball holds no other image of 8 bits: the figure is about real numbers, which is no
    fault of it, and the check is skipped. Elsewhere it is no worse than a warning: images between the
    levels are images.
    """
    if figure.eps * LEVELS < 1 - 1e-6:
        told = "below 1/255 no image of 8 bits but the original is in the ball"
        return Check("eight_bits", "SKIP", None, None, told)
    hit = probed.many.fooled[-2]
    images, targets = figure.images[probed.places][hit], figure.targets[probed.places][hit]
    lost = ~_survives(figure, images, probed.many.images[-2][hit], targets)
    told = "fooled, but not once rounded to 8 bits"
    return no_worse_than_warn(judged("eight_bits", int(lost.sum()), len(figure.images), told, ROUNDED_AWAY))


def _survives(figure: Figure, images: Tensor, found: Tensor, targets: Tensor) -> Tensor:
    """Which of the images found, rounded to levels, are still in the ball and fool.

    The perturbation is made as long as the ball allows, then rounded to the nearest level, whole and a
    little shorter, and towards the clean image, which does not leave the ball.
    """
    change = direction(found - images, figure.norm) * figure.eps
    rounded = [((images + share * change) * LEVELS).round() for share in SHRINKS]
    end = (images + change) * LEVELS
    rounded.append(torch.where(change > 0, (end + 1e-3).floor(), (end - 1e-3).ceil()))
    survives = torch.zeros_like(targets, dtype=torch.bool)
    for levels in rounded:
        image = (levels / LEVELS).clamp(0, 1)
        inside = lengths(image - images, figure.norm) <= figure.eps + 1e-6
        survives |= inside & misled(figure.victim, image, targets)
    return survives
