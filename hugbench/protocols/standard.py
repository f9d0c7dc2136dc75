"""The standard protocol: all classes at once, all epochs in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hugbench.data.images import Dataset
from hugbench.suite.moments import Moment
from hugbench.suite.plan import Run
from hugbench.training.loop import train
from hugbench.training.metrics import EpochMetrics
from hugbench.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from hugbench.models import Classifier


def standard(
    classifier: Classifier,
    dataset: Dataset,
    run: Run,
    *,
    device: torch.device,
    checkpoint: Path | None,
    log: Path | None,
    on_epoch: Callable[[EpochMetrics], None],
    keep: Callable[[Moment, Classifier], None],
    note: Callable[[str, Any], None],
    ranks: Ranks = ALONE,
) -> None:
    """Train on all training images.

    Args:
        classifier: changed in place.
        dataset: its `train` is trained on, its `validation` is not.
        run: recipe, seed and protocol.
        device, checkpoint, log, on_epoch, ranks: see `hugbench.training.loop.train`, whose errors are
            passed on.
        keep: called at each of the run's moments but the untrained one, before the checkpoint that
            lies behind it is written: what a killed training has passed, it has kept.
        note: never called; what a protocol has to say of the training goes here, by name.
    """
    *before, end = run.moments
    snapshots = {moment.epoch: moment for moment in before}

    def keep_snapshot(epochs: int, now: Classifier) -> None:
        if epochs in snapshots:
            keep(snapshots[epochs], now)

    train(
        classifier,
        dataset.train,
        run.recipe,
        seed=run.seed,
        device=device,
        checkpoint=checkpoint,
        log=log,
        on_epoch=on_epoch,
        keep=keep_snapshot,
        ranks=ranks,
    )
    keep(end, classifier)
