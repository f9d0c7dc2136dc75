"""What a run starts from: its data, its untrained classifier, and whether they fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from hugbench import registry
from hugbench.criteria.build import build_criterion
from hugbench.data.images import Dataset
from hugbench.data.sources import load
from hugbench.errors import UserError
from hugbench.execution.threads import threads_for
from hugbench.models import Classifier, build
from hugbench.suite.continual import ContinualSpec, check_images
from hugbench.suite.plan import Run
from hugbench.suite.plugins import EvaluationSpec
from hugbench.suite.schema import DatasetSpec


def check(run: Run, evaluations: Iterable[EvaluationSpec], data: Path, notify: Callable[[str], None]) -> int:
    """Load the data and build the model of a run, so that bad input shows before anything starts.

    Returns:
        The CPU threads that the run will take.

    Raises:
        UserError: the data, the backbone, the criterion, the batch size or an evaluation does not fit.
    """
    dataset = dataset_of(run.dataset, data, notify)
    for spec in evaluations:
        if spec.name in registry.PREFLIGHTS:
            registry.load_target(registry.PREFLIGHTS[spec.name])(dataset, data, **spec.values())
    if isinstance(run.protocol, ContinualSpec):
        counts = torch.bincount(dataset.train.targets, minlength=len(dataset.classes)).tolist()
        check_images(run.protocol, run.recipe, counts, run.seed)
    else:
        _check_batches(run, dataset)
    return threads_of(run, untrained(run, dataset), dataset)


def _check_batches(run: Run, dataset: Dataset) -> None:
    if run.recipe.batch_size > len(dataset.train):
        raise UserError(
            "the batch is larger than the data",
            key="recipe.batch_size",
            found=run.recipe.batch_size,
            expected=f"at most {len(dataset.train)}, the training images of {run.dataset.name}",
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
    key = run.criterion, run.model, dataset.train.shape, len(dataset.classes), run.recipe.batch_size
    if key not in _threads:
        _threads[key] = threads_for(classifier, dataset.train.shape, run.recipe.batch_size)
    return _threads[key]


_loaded: dict[tuple[DatasetSpec, Path], Dataset] = {}


def dataset_of(spec: DatasetSpec, root: Path, notify: Callable[[str], None]) -> Dataset:
    """The data, loaded once per process."""
    key = spec, root
    if key not in _loaded:
        _loaded[key] = load(spec, root, notify=notify)
    return _loaded[key]


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
