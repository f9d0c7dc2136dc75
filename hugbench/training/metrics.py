"""What is measured during an epoch, without making an accelerator wait for it at every step."""

from __future__ import annotations

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
    """Collects an epoch's metrics on the device and checks that the losses are finite.

    Args:
        steps: of an epoch.
        device: where losses come from.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.steps = steps
        self.every = 1 if device.type == "cpu" else CHECK_EVERY
        self.losses = torch.zeros(steps, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.trail: list[float] = []

    def start(self, epoch: int) -> None:
        """Begin an epoch, counted from 0."""
        self.epoch = epoch
        self.correct.zero_()
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
        self.losses[len(self.sizes)] = loss.detach()
        self.correct += correct
        self.sizes.append(size)
        self.rates.append(learning_rate)
        if norm is not None:
            self.norms.append(norm)
        if len(self.sizes) % self.every == 0:
            self._check()

    def finish(self) -> EpochMetrics:
        """The epoch's metrics, once the device is done with it.

        Raises:
            NonFiniteLoss: see `add`.
        """
        self._check()
        losses, sizes = self.losses.cpu().double(), torch.tensor(self.sizes)
        images, correct = int(sizes.sum()), int(self.correct)
        seconds = time.perf_counter() - self.begun
        self.trail = [*self.trail, *losses.tolist()][-TRAIL:]
        return EpochMetrics(
            epoch=self.epoch,
            loss=float((losses * sizes).sum() / images),
            accuracy=correct / images,
            lr=self.rates[-1],
            images_per_second=images / seconds,
            seconds=seconds,
            grad_norm=_finite_mean(torch.stack(self.norms)) if self.norms else None,
        )

    def _check(self) -> None:
        """Look at the losses so far; the first bad one is reported."""
        losses = self.losses[: len(self.sizes)]
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            bad = int(finite.logical_not().nonzero()[0])
            trail = [*self.trail, *losses[: bad + 1].tolist()][-TRAIL:]
            raise NonFiniteLoss(self.epoch, self.epoch * self.steps + bad, trail, self.rates[bad])


def _finite_mean(values: Tensor) -> float | None:
    finite = values[values.isfinite()]
    return float(finite.mean()) if len(finite) else None
