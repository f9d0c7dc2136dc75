"""Dark experience replay: the memory keeps what the model said of its images."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.training import supervised
from avalanche.training.templates import SupervisedTemplate
from torch.nn.functional import mse_loss

from hugbench.protocols.continual.base import Strategy
from hugbench.protocols.continual.batches import endless
from hugbench.protocols.continual.memory import LogitMemory
from hugbench.protocols.continual.model import part
from hugbench.types import NonNegative, PositiveInt


class DER(Strategy):
    """DER as Avalanche has it: from the second experience on with its own cross-entropy.

    Beside it, alpha times the squared error between the logits of images from a memory and those
    that they had when their experience was learnt (the mean over images and classes). The memory is
    shared out evenly among the classes so far; the paper's is a reservoir.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.
        alpha: weight of the squared error.

    Source:
        Buzzega, Boschini, Porrello, Abati, Calderara, Dark Experience for General Continual Learning,
        NeurIPS 2020, arXiv 2004.07211; Avalanche's DER.
    """

    def __init__(
        self,
        *,
        memory: PositiveInt = 200,
        memory_batch: PositiveInt | None = None,
        alpha: NonNegative = 0.1,
    ) -> None:
        self._configure(supervised.DER, memory, memory_batch, alpha, 0.0)

    def _configure(
        self, kind: type[supervised.DER], memory: int, memory_batch: int | None, alpha: float, beta: float
    ) -> None:
        self.kind, self.size, self.batch, self.alpha, self.beta = kind, memory, memory_batch, alpha, beta

    def build(self) -> SupervisedTemplate:
        self.memory = LogitMemory(self.size)
        live = self.kind(
            **self.common(),
            mem_size=self.size,
            batch_size_mem=self.memory_batch(self.batch),
            alpha=self.alpha,
            beta=self.beta,
        )
        live.storage_policy = self.memory
        return live

    def stored(self) -> dict[str, Any]:
        return self.memory.stored()

    def restore(self, state: dict[str, Any], done: int) -> None:
        self.memory.restore(state, self.parts.data)

    def start_epoch(self, draw: torch.Generator) -> None:
        if len(buffer := self.memory.buffer):
            self.live.batch_size_mem = min(self.memory_batch(self.batch), len(buffer))
            self.live.replay_loader = endless(buffer, self.live.batch_size_mem, draw, self.parts.device)


class DERpp(DER):
    """DER++ as Avalanche has it: DER, and beta times its own cross-entropy on the images from memory.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.
        alpha: weight of the squared error.
        beta: weight of the cross-entropy of images from memory.

    Source:
        See `der`.
    """

    def __init__(
        self,
        *,
        memory: PositiveInt = 200,
        memory_batch: PositiveInt | None = None,
        alpha: NonNegative = 0.1,
        beta: NonNegative = 0.5,
    ) -> None:
        self._configure(supervised.DER, memory, memory_batch, alpha, beta)


class DERCriterion(DER):
    """DER with the suite's criterion as the loss of new images, in all experiences.

    The squared error is between the criterion's logits: cosines, with HUG. With cross-entropy it is
    the same as `der`.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.
        alpha: weight of the squared error.

    Source:
        See `der`.
    """

    def __init__(
        self,
        *,
        memory: PositiveInt = 200,
        memory_batch: PositiveInt | None = None,
        alpha: NonNegative = 0.1,
    ) -> None:
        self._configure(_WithCriterion, memory, memory_batch, alpha, 0.0)


class DERppCriterion(DER):
    """DER++ with the suite's criterion as the loss of new images and of those from memory.

    The squared error is between the criterion's logits: cosines, with HUG. With cross-entropy it is
    the same as `der_pp`.

    Args:
        memory: images in memory, all classes together.
        memory_batch: images from memory with every batch; null: as many as new ones.
        alpha: weight of the squared error.
        beta: weight of the criterion of images from memory.

    Source:
        See `der`.
    """

    def __init__(
        self,
        *,
        memory: PositiveInt = 200,
        memory_batch: PositiveInt | None = None,
        alpha: NonNegative = 0.1,
        beta: NonNegative = 0.5,
    ) -> None:
        self._configure(_WithCriterion, memory, memory_batch, alpha, beta)


class _WithCriterion(supervised.DER):  # type: ignore[misc]
    """Avalanche's DER, whose loop puts the images from memory in front of the new ones."""

    def training_epoch(self, **kwargs: Any) -> None:
        for batch in self.dataloader:
            self.mbatch = batch
            self._unpack_minibatch()
            self._before_training_iteration(**kwargs)
            self.optimizer.zero_grad()
            self.loss = self._make_empty_loss()
            self._before_forward(**kwargs)
            self.mb_output = self.forward()
            self._after_forward(**kwargs)
            self._add_losses()
            self._before_backward(**kwargs)
            self.backward()
            self._after_backward(**kwargs)
            self._before_update(**kwargs)
            self.optimizer_step()
            self._after_update(**kwargs)
            self._after_training_iteration(**kwargs)

    def _add_losses(self) -> None:
        if self.replay_loader is None:
            self.loss += self.criterion()
            return
        count = self.batch_size_mem
        old, new = slice(None, count), slice(count, None)
        self.loss += self._criterion(part(self.mb_output, new), self.mb_y[new])
        self.loss += self.alpha * mse_loss(self.mb_output[old], self.batch_logits)
        if self.beta:
            self.loss += self.beta * self._criterion(part(self.mb_output, old), self.mb_y[old])
