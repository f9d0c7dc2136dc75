"""What is measured during an epoch, without making an accelerator wait for it at every step."""

from __future__ import annotations

import math
import operator
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.errors import NonFiniteLoss

CHECK_EVERY = 50
"""Steps between two looks at the losses on an accelerator; on a CPU every loss is looked at."""

TRAIL = 10
"""How many losses up to the one that is not finite are reported."""


@dataclass(frozen=True)
class EpochMetrics:
    """A row of `train.jsonl`.

    Attributes:
        epoch: counted from 0.
        loss: mean over the images of the epoch.
        accuracy: fraction of the (augmented, mixed) images whose largest logit is at the largest
            target, in training mode, before each step.
        lr: learning rate of the last step.
        images_per_second: of training alone, without the checkpoint.
        seconds: of training alone.
        grad_norm: mean norm of the gradient before it was clipped, over the steps where it is
            finite; None where the recipe does not clip.
    """

    epoch: int
    loss: float
    accuracy: float
    lr: float
    images_per_second: float
    seconds: float
    grad_norm: float | None = None


class Meter:
    """Collects an epoch's metrics and checks that the losses are finite.

    What a step gives stays on the device, untouched, until the next look.

    Args:
        steps: of an epoch.
        device: where losses come from.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.steps = steps
        self.every = 1 if device.type == "cpu" else CHECK_EVERY
        self.trail: list[float] = []

    def start(self, epoch: int) -> None:
        """Begin an epoch, counted from 0."""
        self.epoch, self.correct = epoch, 0
        self.unseen: list[tuple[Tensor, Tensor]] = []
        self.losses: list[float] = []
        self.sizes: list[int] = []
        self.rates: list[float] = []
        self.norms: list[Tensor] = []
        self.begun = time.perf_counter()

    def add(
        self, loss: Tensor, correct: Tensor, size: int, learning_rate: float, norm: Tensor | None
    ) -> None:
        """Note a step.

        Args:
            loss: scalar on the device.
            correct: number of images that were right, scalar on the device.
            size: of the batch.
            learning_rate: of the step.
            norm: of the gradient, scalar on the device, or None.

        Raises:
            NonFiniteLoss: this loss, or one since the last look, is NaN or infinite.
        """
        self.unseen.append((loss.detach(), correct))
        self.sizes.append(size)
        self.rates.append(learning_rate)
        if norm is not None:
            self.norms.append(norm)
        if len(self.unseen) == self.every:
            self._look()

    def finish(self) -> EpochMetrics:
        """The epoch's metrics, once the device is done with it.

        Raises:
            NonFiniteLoss: see `add`.
        """
        if self.unseen:
            self._look()
        seconds, images = time.perf_counter() - self.begun, sum(self.sizes)
        self.trail = [*self.trail, *self.losses][-TRAIL:]
        return EpochMetrics(
            epoch=self.epoch,
            loss=math.fsum(map(operator.mul, self.losses, self.sizes)) / images,
            accuracy=self.correct / images,
            lr=self.rates[-1],
            images_per_second=images / seconds,
            seconds=seconds,
            grad_norm=_finite_mean(torch.stack(self.norms)) if self.norms else None,
        )

    def _look(self) -> None:
        """Fetch what the steps since the last look gave; the first bad loss is reported."""
        losses, correct = zip(*self.unseen, strict=True)
        self.unseen = []
        for loss in torch.stack(losses).tolist():
            self.losses.append(loss)
            if not math.isfinite(loss):
                bad = len(self.losses) - 1
                trail = [*self.trail, *self.losses][-TRAIL:]
                raise NonFiniteLoss(self.epoch, self.epoch * self.steps + bad, trail, self.rates[bad])
        self.correct += int(torch.stack(correct).sum())


def _finite_mean(values: Tensor) -> float | None:
    finite = values[values.isfinite()]
    return float(finite.mean()) if len(finite) else None
