"""The standard protocol: all classes at once, all epochs in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hugbench.data.images import Dataset
from hugbench.suite.schema import Recipe
from hugbench.training.loop import train
from hugbench.training.metrics import EpochMetrics

if TYPE_CHECKING:
    from hugbench.models import Classifier


def standard(
    classifier: Classifier,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None,
    log: Path | None,
    on_epoch: Callable[[EpochMetrics], None],
) -> Iterator[int | None]:
    """Train on all training images, then yield once.

    A protocol yields whenever the classifier is to be evaluated: the experience it was last
    trained on, or None outside a stream.

    Args:
        classifier: changed in place.
        dataset: its `train` is trained on, its `validation` is not.
        recipe, seed, device, checkpoint, log, on_epoch: see `hugbench.training.loop.train`, whose
            errors are passed on.
    """
    train(
        classifier,
        dataset.train,
        recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        log=log,
        on_epoch=on_epoch,
    )
    yield None
