"""Maximally interfered retrieval: replay what the next step would spoil most."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from avalanche.training import supervised
from avalanche.training.plugins import MIRPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from hugbench.errors import UserError
from hugbench.protocols.continual.base import Strategy
from hugbench.protocols.continual.batches import endless
from hugbench.protocols.continual.loss import single_losses
from hugbench.protocols.continual.memory import ClassMemory
from hugbench.types import PositiveInt


class MIR(Strategy):
    """Replay, of some candidates from memory, those whose loss a step on the new images raises most.

    The step is tried on a copy of the model. The memory is shared out evenly among the classes so
    far and takes in an experience once it is learnt.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.
        candidates: images from memory that are tried for it.

    Source:
        Aljundi et al., Online Continual Learning with Maximally Interfered Retrieval, NeurIPS 2019,
        arXiv 1908.04742; Avalanche's MIRPlugin, which leaves the classes of the last experience out.

    Raises:
        UserError: the criterion has no loss of a single image.
    """

    def __init__(
        self,
        *,
        memory: PositiveInt = 200,
        memory_batch: PositiveInt | None = None,
        candidates: PositiveInt = 100,
    ) -> None:
        self.size, self.batch, self.candidates = memory, memory_batch, candidates

    def build(self) -> SupervisedTemplate:
        self._check_single_losses()
        self.memory = ClassMemory(self.size)
        self.plugin = _MIR(self.memory_batch(self.batch), self.size, self.candidates)
        self.plugin.storage_policy = self.memory
        return supervised.Naive(**self.common(self.plugin))

    def stored(self) -> dict[str, Any]:
        return self.memory.stored()

    def restore(self, state: dict[str, Any], done: int) -> None:
        self.memory.restore(state, self.parts.data)

    def start_epoch(self, draw: torch.Generator) -> None:
        if len(buffer := self.memory.buffer):
            self.plugin.batch_size_mem = min(self.memory_batch(self.batch), len(buffer))
            count = max(self.candidates, self.plugin.batch_size_mem)
            self.plugin.replay_loader = endless(buffer, count, draw, self.parts.device)

    def _check_single_losses(self) -> None:
        """Refuse a criterion to which one image is as good as another."""
        criterion, device = copy.deepcopy(self.parts.model.classifier.criterion).eval(), self.parts.device
        criterion.start_training(torch.ones(criterion.num_classes, dtype=torch.int64, device=device))
        draw = torch.Generator().manual_seed(0)
        features = torch.randn(8, criterion.in_features, generator=draw).to(device)
        losses = single_losses(criterion, features, torch.zeros(8, dtype=torch.int64, device=device))
        if bool((losses == losses[0]).all()):
            raise UserError(
                "mir compares the losses of single images, and this criterion gives them all the same",
                key="protocol.strategy",
                found=repr(criterion),
                expected="another criterion, or another strategy, e.g. replay",
            )


class _MIR(MIRPlugin):  # type: ignore[misc]
    """Avalanche's, with all of the memory to choose from."""

    replay_loader: Iterator[list[Tensor]] | None

    def after_training_exp(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Take in the experience; the loader is made anew in every epoch."""
        self.storage_policy.update(strategy)
        self.replay_loader = None
