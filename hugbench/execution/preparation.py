"""What a run starts from: its data, its untrained classifier, and whether they fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from hugbench import registry
from hugbench.criteria.build import build_criterion
from hugbench.data.images import Dataset
from hugbench.data.sources import loaded
from hugbench.errors import UserError
from hugbench.execution.threads import threads_for
from hugbench.models import Classifier, build
from hugbench.suite.continual import ContinualSpec, check_images
from hugbench.suite.plan import Run
from hugbench.suite.plugins import EvaluationSpec
from hugbench.suite.schema import DatasetSpec
from hugbench.training.batches import check_ranks

_fitting: set[tuple[EvaluationSpec, DatasetSpec, Path]] = set()


def check(
    run: Run,
    evaluations: Iterable[EvaluationSpec],
    data: Path,
    notify: Callable[[str], None],
    ranks: int = 1,
) -> int:
    """Load the data and build the model of a run, so that bad input shows before anything starts.

    Args:
        run: the run.
        evaluations: what is asked of it.
        data: the data folder.
        notify: is called with a sentence if images must be decoded first.
        ranks: processes that train it together.

    Returns:
        The CPU threads that the run will take.

    Raises:
        UserError: the data, the backbone, the criterion, the batch size or an evaluation does not fit.
    """
    if ranks > 1 and isinstance(run.protocol, ContinualSpec):
        raise UserError(
            f"{ranks} processes cannot train a class-incremental stream together",
            key="protocol",
            found="continual",
            expected="standard, or one process",
        )
    dataset = dataset_of(run.dataset, data, notify)
    for spec in evaluations:
        if spec.name in registry.PREFLIGHTS and (spec, run.dataset, data) not in _fitting:
            registry.load_target(registry.PREFLIGHTS[spec.name])(dataset, data, **spec.values())
            _fitting.add((spec, run.dataset, data))
    if isinstance(run.protocol, ContinualSpec):
        counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes)).tolist()
        check_images(run.protocol, run.recipe, counts, run.seed)
    else:
        _check_recipe(run, dataset)
        check_ranks(run.recipe, len(dataset.train), ranks)
    key = _computing(run, dataset)
    return _threads[key] if key in _threads else threads_of(run, untrained(run, dataset), dataset)


def _check_recipe(run: Run, dataset: Dataset) -> None:
    if run.recipe.batch_size > len(dataset.train):
        raise UserError(
            "the batch is larger than the data",
            key="recipe.batch_size",
            found=run.recipe.batch_size,
            expected=f"at most {len(dataset.train)}, the training images of {run.dataset.name}",
        )
    if run.recipe.augment.random_resized_crop is not None and not dataset.train.can_be_cut:
        raise UserError(
            f"parts are cut from images in their own size, but {run.dataset.name} is kept resized",
            key="recipe.augment.random_resized_crop",
            expected="null, dataset.image_size: null, or the data set as images in folders",
        )
    if not run.recipe.drop_last and len(dataset.train) % run.recipe.batch_size == 1:
        raise UserError(
            "an epoch's last batch would hold a single image, which batch normalisation cannot take",
            key="recipe.drop_last",
            found=False,
            expected=f"true, or a batch_size that does not leave 1 of {len(dataset.train)} images over",
        )


_threads: dict[tuple[object, ...], int] = {}
_agreed: int | None = None


def agree_on_threads(threads: int | None) -> None:
    """Tell this process the threads of its next runs, as the driver on another machine has found them."""
    global _agreed
    _agreed = threads


def threads_of(run: Run, classifier: Classifier, dataset: Dataset) -> int:
    """The CPU threads of a run, found once per process for all runs of one model and batch.

    Args:
        run: the run.
        classifier: the run's, on the CPU.
        dataset: the run's.
    """
    if _agreed is not None:
        return _agreed
    key = _computing(run, dataset)
    if key not in _threads:
        _threads[key] = threads_for(classifier, dataset.train.shape, run.recipe.batch_size)
    return _threads[key]


def _computing(run: Run, dataset: Dataset) -> tuple[object, ...]:
    """What of a run its threads depend on, and whether its model can be built."""
    return run.criterion, run.model, dataset.train.shape, len(dataset.classes), run.recipe.batch_size


def dataset_of(spec: DatasetSpec, root: Path, notify: Callable[[str], None]) -> Dataset:
    """The data, loaded once per process."""
    return loaded(spec, root, notify=notify)


def untrained(run: Run, dataset: Dataset) -> Classifier:
    """The classifier before training, on the CPU; the same whenever it is built."""
    channels, height, width = dataset.train.shape
    return build(
        run.model,
        lambda in_features: build_criterion(run.criterion, in_features, len(dataset.classes)),
        channels=channels,
        image_size=(height, width),
        mean=dataset.mean,
        std=dataset.std,
        seed=run.seed,
    )
