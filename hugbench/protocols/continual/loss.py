"""The suite's criterion as Avalanche wants one: a callable of (output, labels)."""

from __future__ import annotations

import torch
from torch import Tensor

from hugbench.criteria.base import Criterion
from hugbench.criteria.sphere import widen
from hugbench.protocols.continual.audit import Audit
from hugbench.protocols.continual.model import Origin, origin_of


class Loss:
    """The criterion of whichever model an output comes from, at the features it carries.

    Args:
        audit: is told of every image that is trained on with the criterion.

    Attributes:
        reduction: what MIR sets to `none` for the losses of single images.
    """

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.reduction = "mean"

    def __call__(self, output: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar, or (B,) with reduction `none`.

        Args:
            output: logits of a `RowModel`.
            targets: labels int64 (B,), or soft targets (B, num_classes).

        Raises:
            RuntimeError: the logits are not those of a `RowModel`.
        """
        origin = origin_of(output)
        if self.reduction == "none":
            return single_losses(origin.model.classifier.criterion, origin.features, targets)
        self._note(origin)
        return origin.model.classifier.loss_of(origin.features, targets)

    def among(self, output: Tensor, targets: Tensor, classes: Tensor) -> Tensor:
        """The loss as if there were only `classes`, int64 (K,) and rising; see `Criterion.among`."""
        origin = origin_of(output)
        self._note(origin)
        with torch.autocast(origin.features.device.type, enabled=False):
            criterion = origin.model.classifier.criterion
            return criterion.among(widen(origin.features), targets, classes)

    def _note(self, origin: Origin) -> None:
        if torch.is_grad_enabled():
            self.audit.serves(origin.rows, origin.model.classifier.criterion)


def single_losses(criterion: Criterion, features: Tensor, targets: Tensor) -> Tensor:
    """The loss of every image by itself, (B,), without a graph.

    Args:
        criterion: called B times, on one image each.
        features: (B, in_features).
        targets: labels int64 (B,).
    """
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        pairs = zip(torch.split(widen(features), 1), torch.split(targets, 1), strict=True)
        return torch.stack([criterion(*pair) for pair in pairs])
