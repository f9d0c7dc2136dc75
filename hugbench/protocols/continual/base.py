"""What every strategy of a suite is made of: Avalanche's strategy, and its state as plain data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from avalanche.benchmarks.scenarios import DatasetExperience
from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from hugbench.criteria.base import Criterion
from hugbench.errors import UserError
from hugbench.protocols.continual.batches import Batches
from hugbench.protocols.continual.loss import Loss
from hugbench.protocols.continual.model import RowModel
from hugbench.protocols.continual.rows import Rows
from hugbench.suite.schema import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """What a strategy is built from.

    Attributes:
        model: the live classifier, taking rows.
        optimiser: over its parameters.
        loss: the suite's criterion.
        plugins: those that come before the strategy's own.
        recipe: how each experience is trained.
        device: where.
        data: all rows.
        experiences: the stream.
    """

    model: RowModel
    optimiser: torch.optim.Optimizer
    loss: Loss
    plugins: tuple[SupervisedPlugin, ...]
    recipe: Recipe
    device: torch.device
    data: Rows
    experiences: Sequence[DatasetExperience]

    @property
    def num_classes(self) -> int:
        """How many classes the head has, C."""
        return self.model.classifier.criterion.num_classes


class Strategy:
    """One way to learn a stream. A subclass's keyword-only arguments are its YAML schema.

    Everything that lives longer than an epoch, but for the model and its optimiser, is in `stored`
    (what lives from one experience to the next, as it is when an experience begins) or in `current`
    (what changes within one). Both are plain: tensors, numbers and containers of them; data are rows.

    Attributes:
        parts: what it was built from.
        live: Avalanche's strategy.
        views_gradients: it flattens gradients by `view`, so weights must not be channels_last.
    """

    views_gradients: ClassVar[bool] = False

    parts: Parts
    live: SupervisedTemplate

    def attach(self, parts: Parts) -> None:
        """Build Avalanche's strategy."""
        self.parts = parts
        self.live = self.build()

    def build(self) -> SupervisedTemplate:
        """Avalanche's strategy over `parts`."""
        raise NotImplementedError

    def stored(self) -> dict[str, Any]:
        """What lives from one experience to the next; asked for before an experience begins."""
        return {}

    def restore(self, state: dict[str, Any], done: int) -> None:
        """Go on from what `stored` gave when `done` experiences were finished."""

    def current(self) -> dict[str, Any]:
        """What changes from epoch to epoch; asked for after an epoch."""
        return {}

    def restore_current(self, state: dict[str, Any]) -> None:
        """Go on from what `current` gave; the experience has begun as it did then."""

    def start_epoch(self, draw: torch.Generator) -> None:
        """Begin an epoch: what is drawn from a memory comes from `draw` alone, which is on the CPU."""

    def batches(self, order: torch.Generator) -> Batches:
        """The mini-batches of an epoch, new images in an order from `order`."""
        recipe, data = self.parts.recipe, self.live.adapted_dataset
        return Batches(data, recipe.batch_size, order, self.parts.device, drop_last=recipe.drop_last)

    def before_evaluation(self) -> None:
        """Make the classifier predict as the strategy does."""

    def after_evaluation(self) -> None:
        """Make the classifier what it was before `before_evaluation`."""

    def common(self, *plugins: SupervisedPlugin) -> dict[str, Any]:
        """Arguments that every strategy of Avalanche takes, with the strategy's own `plugins`."""
        parts, recipe = self.parts, self.parts.recipe
        return {
            "model": parts.model,
            "optimizer": parts.optimiser,
            "criterion": parts.loss,
            "train_mb_size": recipe.batch_size,
            "train_epochs": recipe.epochs,
            "eval_mb_size": recipe.batch_size,
            "device": parts.device,
            "plugins": [*parts.plugins, *plugins],
            "evaluator": Silence(),
            "eval_every": -1,
        }

    def memory_batch(self, asked: int | None) -> int:
        """Images of a batch that come from the memory: as many as new ones if not said otherwise."""
        return self.parts.recipe.batch_size if asked is None else asked


def try_criterion(
    parts: Parts, needs: str, expected: str, call: Callable[[Criterion, Tensor], object]
) -> None:
    """Make sure that a copy of the criterion does what a strategy needs of it.

    Args:
        parts: hold the criterion.
        needs: what the strategy needs, for the message.
        expected: what would do, for the message.
        call: gets the copy, which was told of an image of every class, and features (2, in_features).

    Raises:
        UserError: `call` raised.
    """
    criterion = copy.deepcopy(parts.model.classifier.criterion)
    try:
        criterion.start_training(torch.ones(criterion.num_classes, dtype=torch.int64, device=parts.device))
        call(criterion, torch.ones(2, criterion.in_features, device=parts.device))
    except Exception as error:  # whatever a criterion of someone else's may raise
        raise UserError(
            f"{needs} ({type(error).__name__}: {error})",
            key="protocol.strategy",
            found=repr(criterion),
            expected=expected,
        ) from error


class Silence:
    """In place of Avalanche's evaluation, which hugbench does itself."""

    def get_last_metrics(self) -> dict[str, float]:
        """No metrics."""
        return {}


class Sorted(set[T]):
    """A set that is gone through in rising order, whatever its history."""

    def __iter__(self) -> Iterator[T]:
        return iter(sorted(super().__iter__()))  # type: ignore[type-var]
