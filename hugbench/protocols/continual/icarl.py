"""iCaRL: representation learning with exemplars, and the nearest mean of exemplars as classifier."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from avalanche.models import TrainEvalModel
from avalanche.training import supervised
from avalanche.training.losses import ICaRLLossPlugin
from avalanche.training.supervised.icarl import _ICaRLPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn

from hugbench.criteria.heads import LinearHead
from hugbench.criteria.sphere import widen
from hugbench.errors import UserError
from hugbench.models import Classifier
from hugbench.protocols.continual.base import Strategy
from hugbench.protocols.continual.model import RowModel
from hugbench.protocols.continual.rows import Rows
from hugbench.types import PositiveInt

FAR = -1e4
"""The bias of a class without exemplars: it is never the nearest."""


class ICaRL(Strategy):
    """iCaRL as Avalanche has it: its own loss, herded exemplars, prediction by their means.

    The loss is binary cross-entropy, for classes learnt before against what the model before the
    experience says. An epoch goes through new images and exemplars alike. When it is evaluated, the
    head holds the exemplars' means: the largest logit ⟨m̂_c, x⟩ is that of the nearest mean of
    normalised features. Means are of the images as they are, without mirror images.

    Args:
        memory: exemplars, divided evenly among the classes so far and rounded up.

    Source:
        Rebuffi, Kolesnikov, Sperl, Lampert, iCaRL: Incremental Classifier and Representation
        Learning, CVPR 2017, arXiv 1611.07725; Avalanche's ICaRL.

    Raises:
        UserError: the head is not linear.
    """

    def __init__(self, *, memory: PositiveInt = 200) -> None:
        self.size = memory

    def build(self) -> SupervisedTemplate:
        model = self.parts.model
        head = model.classifier.criterion
        if not isinstance(head, LinearHead):
            raise UserError(
                "icarl puts the means of exemplars into a linear head",
                key="protocol.strategy",
                found=repr(head),
                expected="cross_entropy, or another strategy",
            )
        self.head = head
        _tell_classes(self.parts.experiences)
        others = {name: value for name, value in self.common().items() if name not in {"model", "criterion"}}
        live = supervised.ICaRL(
            feature_extractor=_Features(model),
            classifier=_Head(model),
            memory_size=self.size,
            buffer_transform=None,
            fixed_memory=True,
            **others,
        )
        self.exemplars = _Exemplars(self.size, self.parts.data)
        self.exemplars.embedding_size = head.in_features
        self.exemplars.class_means = {
            label: torch.zeros(head.in_features, device=self.parts.device)
            for label in range(head.num_classes)
        }
        live.plugins = [
            self.exemplars if isinstance(plugin, _ICaRLPlugin) else plugin for plugin in live.plugins
        ]
        self.loss = next(plugin for plugin in live.plugins if isinstance(plugin, ICaRLLossPlugin))
        return live

    def stored(self) -> dict[str, Any]:
        plugin, teacher = self.exemplars, self.loss.old_model
        return {
            "observed": list(plugin.observed_classes),
            "rows": [rows.cpu() for rows in plugin.x_memory],
            "labels": [list(labels) for labels in plugin.y_memory],
            "order": [order.cpu() for order in plugin.order],
            "means": dict(plugin.class_means),
            "old_classes": [int(label) for label in self.loss.old_classes],
            "teacher": None if teacher is None else copy.deepcopy(_classifier(teacher).state_dict()),
        }

    def restore(self, state: dict[str, Any], done: int) -> None:
        plugin, model, device = self.exemplars, self.live.model, self.parts.device
        plugin.observed_classes = list(state["observed"])
        plugin.x_memory = [rows.to(device) for rows in state["rows"]]
        plugin.y_memory = [list(labels) for labels in state["labels"]]
        plugin.order = list(state["order"])
        plugin.class_means = {label: mean.to(device) for label, mean in state["means"].items()}
        self.loss.old_classes = list(state["old_classes"])
        if state["teacher"] is not None:
            model.eval_classifier.replace_class_means_dict(plugin.class_means)
            self.loss.old_model = copy.deepcopy(model)
            _classifier(self.loss.old_model).load_state_dict(state["teacher"])
            self.loss.old_model.train()

    def before_evaluation(self) -> None:
        self.trained = self.head.weight.detach().clone(), self.head.bias.detach().clone()
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.fill_(FAR)
            for label in {labels[0] for labels in self.exemplars.y_memory}:
                self.head.weight[label] = self.exemplars.class_means[label]
                self.head.bias[label] = 0

    def after_evaluation(self) -> None:
        with torch.no_grad():
            self.head.weight.copy_(self.trained[0])
            self.head.bias.copy_(self.trained[1])


class _Exemplars(_ICaRLPlugin):  # type: ignore[misc]
    """Avalanche's, with rows for images; it is told the widths that it would try a batch for."""

    def __init__(self, size: int, data: Rows) -> None:
        super().__init__(size, None, True)
        self.data = data
        self.input_size = ()

    def after_train_dataset_adaptation(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Put the exemplars beside the new images."""
        if self.x_memory:
            memory = self.data.subset(torch.cat(self.x_memory).tolist())
            strategy.adapted_dataset = strategy.adapted_dataset.concat(memory)


class _Features(nn.Module):
    """Rows to features, of a `RowModel`."""

    def __init__(self, model: RowModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Tensor:
        return widen(self.model.features(rows))


class _Head(nn.Module):
    """Features to logits, of a `RowModel`."""

    def __init__(self, model: RowModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        return self.model.classifier.criterion.logits(features)


def _classifier(model: TrainEvalModel) -> Classifier:
    """The classifier inside what iCaRL trains."""
    classifier: Classifier = model.feature_extractor.model.classifier
    return classifier


def _tell_classes(experiences: Any) -> None:
    """Give experiences the benchmark that iCaRL asks for its classes; those without images are none."""
    present = [sorted(experience.classes_in_this_experience) for experience in experiences]
    benchmark = SimpleNamespace(
        n_classes_per_exp=[len(labels) for labels in present],
        classes_order=[label for labels in present for label in labels],
    )
    for experience in experiences:
        experience.benchmark = benchmark
