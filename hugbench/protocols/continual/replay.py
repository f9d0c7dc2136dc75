"""Experience replay from a class-balanced memory."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.training import supervised
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.templates import SupervisedTemplate

from hugbench.protocols.continual.base import Strategy
from hugbench.protocols.continual.batches import Batches, endless
from hugbench.protocols.continual.memory import ClassMemory
from hugbench.types import PositiveInt


class Replay(Strategy):
    """Add images from a memory to every batch; the memory takes in an experience once it is learnt.

    The memory is shared out evenly among the classes so far, a random choice of each.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images of a batch that come from memory; null: as many as new ones.

    Source:
        Chaudhry et al., On Tiny Episodic Memories in Continual Learning, arXiv 1902.10486;
        Avalanche's ReplayPlugin with its ClassBalancedBuffer.
    """

    def __init__(self, *, memory: PositiveInt = 200, memory_batch: PositiveInt | None = None) -> None:
        self.size, self.batch = memory, memory_batch

    def build(self) -> SupervisedTemplate:
        self.memory = ClassMemory(self.size)
        return supervised.Naive(**self.common(ReplayPlugin(self.size, storage_policy=self.memory)))

    def stored(self) -> dict[str, Any]:
        return self.memory.stored()

    def restore(self, state: dict[str, Any], done: int) -> None:
        self.memory.restore(state, self.parts.data)

    def start_epoch(self, draw: torch.Generator) -> None:
        self.replayed = None
        if len(buffer := self.memory.buffer):
            self.replayed = endless(buffer, self.memory_batch(self.batch), draw, self.parts.device)

    def batches(self, order: torch.Generator) -> Batches:
        batches = super().batches(order)
        batches.replayed = self.replayed
        return batches
