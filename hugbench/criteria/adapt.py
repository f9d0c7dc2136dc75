"""Any loss of (logits, targets), with a linear head."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from hugbench.criteria.base import one_hot
from hugbench.criteria.heads import LinearHead
from hugbench.criteria.sphere import widen


class LogitsLoss(LinearHead):
    """A loss module of (logits, targets), such as one of torch.nn or timm.loss, over a linear head.

    Equation:
        L = loss(W x + b, targets).

    Whether the loss takes labels (B,), floating-point targets (B, C) or both is found out once, by
    calling a copy of it on two images. A loss that takes no labels (BCEWithLogitsLoss, MSELoss,
    SoftTargetCrossEntropy) gets them one-hot.

    Args:
        loss: module whose call `(logits, targets)` gives a scalar; it trains, moves and saves with
            the criterion.

    Source:
        The loss's own; the head is that of `CrossEntropy`.

    Raises:
        ValueError: the loss takes neither kind of targets; and at a call, soft targets (mixup) for
            a loss that takes labels only.
    """

    def __init__(self, in_features: int, num_classes: int, *, loss: nn.Module) -> None:
        super().__init__(in_features, num_classes)
        self.loss = loss
        labels = torch.arange(2 if num_classes > 2 else 3) % num_classes
        refusals = {
            kind: _refusal(loss, num_classes, targets)
            for kind, targets in (("labels", labels), ("soft targets", one_hot(labels, num_classes)))
        }
        self.takes_labels, self.takes_soft = (refusal is None for refusal in refusals.values())
        if not (self.takes_labels or self.takes_soft):
            told = "; ".join(f"with {kind}: {refusal}" for kind, refusal in refusals.items())
            raise ValueError(
                f"loss: expected a module of (logits, targets), found {loss!r}, which fails {told}"
            )

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """What the loss makes of the logits and the targets."""
        logits = widen(self.logits(features))
        if targets.is_floating_point():
            if not self.takes_soft:
                raise ValueError(f"loss: expected one that takes soft targets, found {self.loss!r}")
            targets = targets.to(logits)
        elif not self.takes_labels:
            targets = one_hot(targets, self.num_classes).to(logits)
        loss: Tensor = self.loss(logits, targets)
        return loss

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{super().extra_repr()}, loss={self.loss!r}"


def _refusal(loss: nn.Module, num_classes: int, targets: Tensor) -> str | None:
    """Why the loss does not take such targets, or None where it does."""
    logits = torch.zeros(len(targets), num_classes)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
            copy.deepcopy(loss)(logits, targets)
    except Exception as error:  # whatever a loss of someone else's may raise
        return f"{type(error).__name__}: {error}"
    return None
