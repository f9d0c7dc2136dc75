"""From a loss to new weights: everything that changes while a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from hugbench.suite.schema import Recipe
from hugbench.training.optimisers import optimiser

if TYPE_CHECKING:
    from hugbench.models import Classifier


class Learner:
    """A classifier with its optimiser, gradient scaler and moving average.

    The scaler is at work in fp16 only; it skips steps whose gradient overflows and looks at the
    gradient on the CPU once a step, which bf16 and fp32 do not.

    The moving average, where the recipe has one, is over parameters and floating-point buffers,
    with a decay of min(ema, 1 − (1 + step)^(−2/3)), so that the initial weights are forgotten
    also in a short training; integer buffers are copied.

    Args:
        classifier: on `device` already.
        recipe: optimiser, clip_grad, ema, precision.
        device: where the classifier is.
    """

    def __init__(self, classifier: Classifier, recipe: Recipe, device: torch.device) -> None:
        self.classifier = classifier
        self.optimiser = optimiser(classifier, recipe)
        self.clip_grad = recipe.clip_grad
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.average = None
        if recipe.ema is not None:
            self.average = ModelEmaV3(classifier, decay=recipe.ema, use_warmup=True)

    def update(self, loss: Tensor, learning_rate: float, step: int) -> Tensor | None:
        """Step down the gradient of `loss`, a scalar.

        Returns:
            The norm of the gradient before it was clipped, a scalar on the device; None where the
            recipe does not clip.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        norm = None
        if self.clip_grad is not None:
            self.scaler.unscale_(self.optimiser)
            norm = torch.nn.utils.clip_grad_norm_(self.classifier.parameters(), self.clip_grad)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.classifier, step=step + 1)
        return norm

    def evaluated(self) -> Classifier:
        """What would be evaluated if the training ended here: the moving average, or the classifier."""
        averaged: Classifier = self.classifier if self.average is None else self.average.module
        return averaged

    def finish(self) -> None:
        """End the training: the classifier holds the averaged weights, if any, and no gradients."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.classifier.load_state_dict(self.average.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "model": self.classifier.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave for the same recipe."""
        self.classifier.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
