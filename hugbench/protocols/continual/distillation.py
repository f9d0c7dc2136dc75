"""Learning without forgetting: the model before an experience teaches the one after it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from avalanche.training import supervised
from avalanche.training.plugins import LwFPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from hugbench.criteria.base import Criterion
from hugbench.protocols.continual.base import Sorted, Strategy, try_criterion
from hugbench.protocols.continual.model import origin_of
from hugbench.types import NonNegative, Positive

BOUNDED_SCALE = 16.0
"""What bounded logits are multiplied by before a softmax: at 1 the softmax of cosines is almost flat."""


class LwF(Strategy):
    """Learning without forgetting as Avalanche has it, without a memory.

    Beside the criterion, alpha times the Kullback-Leibler divergence between the softmax of the
    logits and that of the model before the experience, over the classes it had learnt, on the new
    images. With bounded logits (cosines) that softmax is almost flat, and the divergence small.

    Args:
        alpha: weight of the divergence.
        temperature: of both softmaxes.

    Source:
        Li, Hoiem, Learning without Forgetting, ECCV 2016, arXiv 1606.09282; Avalanche's LwFPlugin.
    """

    def __init__(self, *, alpha: NonNegative = 1.0, temperature: Positive = 2.0) -> None:
        self.alpha, self.temperature = alpha, temperature

    def build(self) -> SupervisedTemplate:
        self.plugin = self._plugin()
        return supervised.Naive(**self.common(self.plugin))

    def _plugin(self) -> _LwF:
        return _LwF(self.alpha, self.temperature)

    def stored(self) -> dict[str, Any]:
        method = self.plugin.lwf
        if method.prev_model is None:
            return {}
        return {
            "classes": sorted(method.prev_classes_by_task[0]),
            "model": copy.deepcopy(method.prev_model.classifier.state_dict()),
        }

    def restore(self, state: dict[str, Any], done: int) -> None:
        if not state:
            return
        method = self.plugin.lwf
        method.expcount = done
        method.prev_classes_by_task = {0: Sorted(state["classes"])}
        method.prev_model = copy.deepcopy(self.parts.model)
        method.prev_model.classifier.load_state_dict(state["model"])
        method.prev_model.train()


class LwFCriterion(LwF):
    """Learning without forgetting with the suite's criterion as the loss of both terms.

    The criterion of the new images with their labels, and alpha times the criterion of the same
    images with soft targets: the softmax, over the classes learnt before, of scale / temperature times
    the logits of the model before the experience.

    Args:
        alpha: weight of the term with soft targets.
        temperature: of the soft targets.
        scale: of the logits; null: 16 where the criterion's are bounded (cosines), else 1.

    Source:
        Li, Hoiem, Learning without Forgetting, ECCV 2016, arXiv 1606.09282, with cross-entropy
        replaced by the criterion, and the soft targets only being tempered.

    Raises:
        UserError: the criterion takes no soft targets.
    """

    def __init__(
        self, *, alpha: NonNegative = 1.0, temperature: Positive = 2.0, scale: Positive | None = None
    ) -> None:
        super().__init__(alpha=alpha, temperature=temperature)
        self.scale = scale

    def _plugin(self) -> _LwF:
        criterion = self.parts.model.classifier.criterion
        scale = self.scale or (BOUNDED_SCALE if criterion.bounded_logits else 1.0)
        needs, expected = "lwf_criterion trains the criterion with soft targets", "another criterion, or lwf"
        try_criterion(self.parts, needs, expected, _with_soft_targets)
        return _SoftTargets(self.alpha, self.temperature / scale)


class _LwF(LwFPlugin):  # type: ignore[misc]
    """Avalanche's, which goes through the classes learnt in the order of a set's history."""

    def after_training_exp(self, strategy: SupervisedTemplate, **kwargs: Any) -> None:
        """Keep the model as the teacher of the next experience."""
        super().after_training_exp(strategy, **kwargs)
        known = self.lwf.prev_classes_by_task
        self.lwf.prev_classes_by_task = {task: Sorted(classes) for task, classes in known.items()}


class _SoftTargets(_LwF):
    """The criterion with soft targets in place of the divergence."""

    def before_backward(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Add the distillation."""
        if (teacher := self.lwf.prev_model) is None:
            return
        with torch.no_grad():
            logits = teacher(strategy.mb_x)
            known = list(self.lwf.prev_classes_by_task[0])
            targets = torch.zeros_like(logits)
            targets[:, known] = (logits[:, known] / self.lwf.temperature).softmax(1)
        origin = origin_of(strategy.mb_output)
        strategy.loss += self.lwf.alpha * origin.model.classifier.loss_of(origin.features, targets)


def _with_soft_targets(criterion: Criterion, features: Tensor) -> Tensor:
    targets = features.new_full((len(features), criterion.num_classes), 1 / criterion.num_classes)
    loss: Tensor = criterion(features, targets)
    return loss
