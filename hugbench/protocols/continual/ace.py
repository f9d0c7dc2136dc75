"""ER-ACE: new images are told from one another only, remembered ones from all classes."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.training import supervised
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from hugbench.criteria.base import Criterion
from hugbench.protocols.continual.base import Strategy, try_criterion
from hugbench.protocols.continual.batches import endless
from hugbench.protocols.continual.memory import ClassMemory
from hugbench.types import PositiveInt


class ERACE(Strategy):
    """ER-ACE as Avalanche has it: from the second experience on with its own cross-entropy.

    Half the loss is that of new images, whose softmax runs over the classes of their batch alone, so
    they do not push away the classes learnt before; half is that of images from a memory. The memory
    is shared out evenly among the classes so far and takes in an experience when it begins.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.

    Source:
        Caccia et al., New Insights on Reducing Abrupt Representation Change in Online Continual
        Learning, ICLR 2022, arXiv 2104.05025; Avalanche's ER_ACE.
    """

    def __init__(self, *, memory: PositiveInt = 200, memory_batch: PositiveInt | None = None) -> None:
        self.size, self.batch = memory, memory_batch

    def build(self) -> SupervisedTemplate:
        self.memory = ClassMemory(self.size)
        batch = self.memory_batch(self.batch)
        live = supervised.ER_ACE(**self.common(), mem_size=self.size, batch_size_mem=batch)
        live.storage_policy = self.memory
        return live

    def stored(self) -> dict[str, Any]:
        return self.memory.stored()

    def restore(self, state: dict[str, Any], done: int) -> None:
        self.memory.restore(state, self.parts.data)

    def start_epoch(self, draw: torch.Generator) -> None:
        if self.live.experience.current_experience > 0:
            size, device = self.memory_batch(self.batch), self.parts.device
            self.live.replay_loader = endless(self.memory.buffer, size, draw, device)


class ERACECriterion(ERACE):
    """ER-ACE with the suite's criterion as its loss.

    As `er_ace`, but the loss of new images is the criterion's as if there were only the classes of
    their batch, and that of images from memory is the criterion's. With cross-entropy the two are
    the same.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.

    Source:
        See `er_ace`.

    Raises:
        UserError: the criterion cannot be restricted to some of its classes.
    """

    def __init__(self, *, memory: PositiveInt = 200, memory_batch: PositiveInt | None = None) -> None:
        super().__init__(memory=memory, memory_batch=memory_batch)

    def build(self) -> SupervisedTemplate:
        needs = "er_ace_criterion takes the criterion among the classes of a batch"
        try_criterion(self.parts, needs, "another criterion, or another strategy", _among_two)
        live = super().build()
        live.ace_criterion = self._loss
        return live

    def _loss(self, output: Tensor, labels: Tensor, old_output: Tensor, old_labels: Tensor) -> Tensor:
        loss = self.parts.loss
        new = loss.among(output, labels, torch.unique(labels))
        return (loss(old_output, old_labels) + new) / 2


def _among_two(criterion: Criterion, features: Tensor) -> Tensor:
    labels = torch.arange(2, device=features.device)
    return criterion.among(features, labels, labels)
