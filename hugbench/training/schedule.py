"""The learning rate of a step: a pure function, so a resumed run has no scheduler to restore."""

from __future__ import annotations

import math

from hugbench.suite.schema import Recipe

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 25.0
ONE_CYCLE_END = 1e4


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of `step`, counted from 0 over the whole training.

    With E epochs of S steps, warm-up of W = warmup_epochs · S steps and T = E · S:

    constant: lr. multistep: lr · gamma^k after k milestones, which are epochs counted from the
    start of training, warm-up included. cosine: from lr at step W to min_lr, half a cosine that
    reaches min_lr at step T (Loshchilov & Hutter, arXiv 1608.03983, eq. 5, without restarts).
    Each of these is multiplied by (step + 1) / W during warm-up, so it ends at the full value
    and never begins at zero.

    one_cycle: half a cosine from lr/25 up to lr, another down to lr/250,000 at the last step, the
    path of `torch.optim.lr_scheduler.OneCycleLR` with its defaults, except that momentum is not
    cycled (Smith & Topin, arXiv 1708.07120). The rise takes warmup_epochs, or 0.3 of the training
    where that is 0; a training too short for a rise begins at lr.

    Args:
        recipe: schedule, lr, epochs, milestones, gamma, warmup_epochs, min_lr.
        step: in [0, epochs · steps_per_epoch).
        steps_per_epoch: at least 1.
    """
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule == "one_cycle":
        rise = recipe.warmup_epochs / recipe.epochs or ONE_CYCLE_RISE
        return _one_cycle(recipe.lr, step, peak=max(rise * total - 1, 0), last=total - 1)
    warmup = recipe.warmup_epochs * steps_per_epoch
    if recipe.schedule == "cosine" and step >= warmup:
        return _half_cosine(recipe.lr, recipe.min_lr, (step - warmup) / (total - warmup))
    passed = sum(milestone <= step // steps_per_epoch for milestone in recipe.milestones)
    return recipe.lr * recipe.gamma**passed * min(1.0, (step + 1) / warmup if warmup else 1.0)


def _one_cycle(lr: float, step: int, peak: float, last: int) -> float:
    """Up to `lr` at step `peak`, which may lie between two steps, then down until step `last`."""
    start = lr / ONE_CYCLE_START
    if step < peak:
        return _half_cosine(start, lr, step / peak)
    fall = last - peak
    return _half_cosine(lr, start / ONE_CYCLE_END, (step - peak) / fall if fall else 0.0)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
