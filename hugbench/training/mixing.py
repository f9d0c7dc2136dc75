"""Mixup and CutMix: images blended with their neighbours in the batch, and targets alike."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from hugbench.criteria.base import one_hot
from hugbench.suite.schema import Recipe


def mix(
    images: Tensor,
    targets: Tensor,
    num_classes: int,
    recipe: Recipe,
    draw: np.random.Generator,
    *,
    preceded: bool = False,
) -> tuple[Tensor, Tensor]:
    """The batch with mixup, with CutMix or, where the recipe has both, with either by a fair coin.

    One share λ ~ Beta(α, α) is drawn for the whole batch, as in the papers' own code.

    Args:
        images: float (B, C, H, W), the whole batch, or a part of it, see `preceded`.
        targets: labels int64 of the whole batch.
        num_classes: width of the soft targets.
        recipe: its `mixup` and `cutmix` are the alphas; with both at 0 the batch is left alone.
        draw: where the coin, λ and the box come from; on the CPU, so no device waits for it.
        preceded: the first image is but the one before the others in the batch, and is not returned.

    Returns:
        Images and soft targets (B, num_classes); labels as they were where nothing is mixed.
    """
    if not recipe.mixup and not recipe.cutmix:
        return images, targets
    soft = one_hot(targets, num_classes)
    before, images = (images[:-1], images[1:]) if preceded else (images.roll(1, 0), images)
    if not recipe.cutmix or (recipe.mixup and draw.random() < 0.5):
        return mixup(images, before, soft, share=draw.beta(recipe.mixup, recipe.mixup))
    height, width = images.shape[-2:]
    centre = int(draw.integers(height)), int(draw.integers(width))
    return cutmix(images, before, soft, share=draw.beta(recipe.cutmix, recipe.cutmix), centre=centre)


def mixup(images: Tensor, before: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """λ of each image and 1 − λ of the one before it in the batch (the first has the last).

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, mixup (ICLR 2018, arXiv 1710.09412), section 2.

    Args:
        images: float (b, C, H, W), a batch or a part of it.
        before: for each the image before it in the batch.
        targets: soft targets (B, num_classes) of the whole batch.
        share: λ in [0, 1].
    """
    return before.lerp(images, share), targets.roll(1, 0).lerp_(targets, share)


def cutmix(
    images: Tensor, before: Tensor, targets: Tensor, share: float, centre: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """A box of 1 − λ of the area, cut at the borders, comes from the image before in the batch.

    The targets are mixed by the area that the box really has.

    Source: Yun et al., CutMix (ICCV 2019, arXiv 1905.04899), equations 1 and 2 and algorithm A1.

    Args:
        images: float (b, C, H, W), a batch or a part of it.
        before: for each the image before it in the batch.
        targets: soft targets (B, num_classes) of the whole batch.
        share: λ in [0, 1].
        centre: row and column of the box's centre.
    """
    height, width = images.shape[-2:]
    half = 0.5 * (1.0 - share) ** 0.5
    top, bottom = _span(centre[0], half * height, height)
    left, right = _span(centre[1], half * width, width)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = before[..., top:bottom, left:right]
    kept = 1.0 - (bottom - top) * (right - left) / (height * width)
    return mixed, targets.roll(1, 0).lerp_(targets, kept)


def _span(centre: int, half: float, size: int) -> tuple[int, int]:
    """First and one-past-last pixel within `half` of `centre`, inside the image."""
    return max(0, int(centre - half + 0.5)), min(size, int(centre + half + 0.5))
