"""The class-incremental protocol: a stream of experiences, learnt one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hugbench.data.images import Dataset
from hugbench.suite.continual import ContinualSpec, check_images, check_recipe
from hugbench.suite.schema import Recipe
from hugbench.training.metrics import EpochMetrics

if TYPE_CHECKING:
    from hugbench.models import Classifier


def continual(
    classifier: Classifier,
    dataset: Dataset,
    recipe: Recipe,
    spec: ContinualSpec,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None,
    log: Path | None,
    on_epoch: Callable[[EpochMetrics], None],
    on_accounts: Callable[[list[dict[str, Any]]], None] = lambda accounts: None,
) -> Iterator[int]:
    """Train on a stream, and yield whenever the classifier is to be evaluated.

    It yields 0 before any training, then the number of every finished experience, counted from 1;
    `joint`, which has all classes at once, yields 0 and the last number. At each yield the
    classifier is the live one, in evaluation mode; it must be left as it is.

    `recipe.epochs` are those of each experience, and the schedule of the learning rate begins anew
    with each; the optimiser's momentum goes on. A loss that asks for class counts is told of the
    images that the stream has brought so far.

    With `checkpoint` the stream goes on after the last finished epoch that is stored there; then the
    first number that it yields is that of the experience to which that epoch belongs. The file is
    left behind. `log` holds a line of JSON per epoch; epochs are counted over the whole stream. The
    global generators of python, NumPy and torch are reseeded.

    Args:
        classifier: changed in place; its criterion has all classes.
        dataset: its `train` is trained on.
        recipe, seed, device, checkpoint, log, on_epoch: see `hugbench.training.loop.train`.
        spec: the stream and the strategy.
        on_accounts: called before a yield with the accounts of all experiences so far, see
            `hugbench.protocols.continual.audit.Account`.

    Raises:
        UserError: the stream, the recipe, the strategy or the criterion do not go together.
        AuditError: the strategy did not do with the criterion what it promises.
        NonFiniteLoss: the loss became NaN or infinite.
        CorruptFile: the checkpoint is damaged; nothing has been trained.
    """
    check_recipe(recipe)
    counts = torch.bincount(dataset.train.targets, minlength=classifier.criterion.num_classes)
    check_images(spec, recipe, counts.tolist(), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Avalanche says while it is imported
        from hugbench.protocols.continual.stream import Stream

    stream = Stream(
        classifier,
        dataset.train,
        recipe,
        spec,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        log=log,
        on_epoch=on_epoch,
    )
    done = stream.resume()
    if not stream.accounts:
        classifier.eval()
        yield 0
    for number in range(done + 1, len(stream.classes) + 1):
        stream.train(number)
        on_accounts([account.plain() for account in stream.accounts])
        with stream.predicting():
            yield spec.experiences if stream.joint else number
