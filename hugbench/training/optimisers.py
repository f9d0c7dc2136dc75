"""The optimiser of a recipe, from timm's factory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

from hugbench.suite.schema import Recipe

if TYPE_CHECKING:
    from hugbench.models import Classifier


def optimiser(classifier: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser over all parameters of a classifier, proxies included.

    Weight decay spares what `classifier.no_weight_decay()` names and, without
    `decay_norm_and_bias`, biases and everything else of at most one dimension.

    Two defaults of timm are not taken over: sgd is Nesterov's only where the recipe says so, and
    lamb does not clip the gradient behind the recipe's back.

    Args:
        classifier: its parameters are optimised; those that need no gradient are left out.
        recipe: optimizer, lr, momentum, nesterov, betas, weight_decay, decay_norm_and_bias.
    """
    options: dict[str, Any] = {}
    if recipe.optimizer == "sgd":
        options = {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    elif recipe.optimizer == "lamb":
        options = {"max_grad_norm": None}
    if recipe.betas is not None:
        options["betas"] = recipe.betas
    return create_optimizer_v2(
        classifier,
        opt=recipe.optimizer,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        filter_bias_and_bn=not recipe.decay_norm_and_bias,
        **options,
    )
