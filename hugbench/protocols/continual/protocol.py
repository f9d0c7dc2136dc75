"""The class-incremental protocol: a stream of experiences, learnt one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hugbench.data.images import Dataset
from hugbench.suite.continual import ContinualSpec, check_images, check_recipe
from hugbench.suite.moments import Moment
from hugbench.suite.plan import Run
from hugbench.training.metrics import EpochMetrics

if TYPE_CHECKING:
    from hugbench.models import Classifier


def continual(
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
) -> None:
    """Train on a stream.

    `recipe.epochs` are those of each experience, and the schedule of the learning rate begins anew
    with each; the optimiser's momentum goes on. A loss that asks for class counts is told of the
    images that the stream has brought so far.

    With `checkpoint` the stream goes on after the last finished epoch that is stored there. The file is
    left behind. `log` holds a line of JSON per epoch; epochs are counted over the whole stream. The
    global generators of python, NumPy and torch are reseeded.

    Args:
        classifier: changed in place; its criterion has all classes.
        dataset: its `train` is trained on.
        run: recipe, seed and protocol, a `ContinualSpec`.
        device, checkpoint, log, on_epoch: see `hugbench.training.loop.train`.
        keep: called after every experience with the live classifier, in evaluation mode and predicting
            as the strategy does; with `joint`, which has all classes at once, at the end. Where a killed
            stream had finished an experience, it is called for that one again.
        note: called with `audit` and the accounts of all experiences so far, see
            `hugbench.protocols.continual.audit.Account`.

    Raises:
        UserError: the stream, the recipe, the strategy or the criterion do not go together.
        AuditError: the strategy did not do with the criterion what it promises.
        NonFiniteLoss: the loss became NaN or infinite.
        CorruptFile: the checkpoint is damaged; nothing has been trained.
    """
    recipe, spec = run.recipe, run.protocol
    assert isinstance(spec, ContinualSpec)
    check_recipe(recipe)
    counts = torch.bincount(dataset.train.targets, minlength=classifier.criterion.num_classes)
    check_images(spec, recipe, counts.tolist(), run.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Avalanche says while it is imported
        from hugbench.protocols.continual.stream import Stream

    stream = Stream(
        classifier,
        dataset.train,
        recipe,
        spec,
        seed=run.seed,
        device=device,
        checkpoint=checkpoint,
        log=log,
        on_epoch=on_epoch,
    )
    for number in range(stream.resume() + 1, len(stream.classes) + 1):
        stream.train(number)
        note("audit", [account.plain() for account in stream.accounts])
        with stream.predicting():
            keep(Moment(spec.experiences if stream.joint else number), classifier)
