"""GDumb: forget everything but the memory."""

from __future__ import annotations

import copy
from typing import Any

from avalanche.training import supervised
from avalanche.training.plugins import GDumbPlugin
from avalanche.training.templates import SupervisedTemplate

from hugbench.protocols.continual.base import Strategy
from hugbench.protocols.continual.memory import ClassMemory
from hugbench.types import PositiveInt


class GDumb(Strategy):
    """Train from scratch, at every experience, on a memory of all classes so far.

    The memory is shared out evenly among the classes so far and takes in an experience when it
    begins. Weights and optimiser start anew each time.

    Args:
        memory: images in memory, all classes together.

    Source:
        Prabhu, Torr, Dokania, GDumb: A Simple Approach that Questions Our Progress in Continual
        Learning, ECCV 2020; Avalanche's GDumbPlugin.
    """

    def __init__(self, *, memory: PositiveInt = 200) -> None:
        self.size = memory

    def build(self) -> SupervisedTemplate:
        self.memory = ClassMemory(self.size)
        self.plugin = _InPlace(self.size)
        self.plugin.storage_policy = self.memory
        self.plugin.untrained = copy.deepcopy(self.parts.model.classifier.state_dict())
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        return {"memory": self.memory.stored(), "untrained": self.plugin.untrained}

    def restore(self, state: dict[str, Any], done: int) -> None:
        self.memory.restore(state["memory"], self.parts.data)
        self.plugin.untrained = state["untrained"]


class _InPlace(GDumbPlugin):  # type: ignore[misc]
    """Avalanche's, which would put another model in place of the live one.

    Attributes:
        untrained: the state of the classifier before any training.
    """

    untrained: dict[str, Any]

    def before_train_dataset_adaptation(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Reset model and optimiser."""
        strategy.model.classifier.load_state_dict(self.untrained)
        strategy.optimizer.state.clear()

    def before_eval_dataset_adaptation(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """There is no other model to adapt."""
