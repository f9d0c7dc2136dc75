"""The classifier as Avalanche sees it: rows in, logits out, and the logits carry their features.

Avalanche hands a criterion `(output, labels)` and nothing else. What the criterion needs beside
these, the features and the model they come from, travels with the output: no model is remembered
that could be a stale one, however often and through whichever copies a strategy forwards.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from hugbench.criteria.sphere import widen
from hugbench.data.augment import augment, to_float
from hugbench.suite.schema import Recipe
from hugbench.training.loop import AUTOCAST

if TYPE_CHECKING:
    from hugbench.models import Classifier


class Origin(NamedTuple):
    """Where logits come from: the model, its features (B, in_features), the rows (B,)."""

    model: RowModel
    features: Tensor
    rows: Tensor


class Source:
    """From rows of the training set to images in [0, 1], augmented where they are trained on.

    The images of the last rows are kept: two models that are shown the same mini-batch see the same
    augmentation, as with distillation. Copies of a model share their source.

    Args:
        pick: from rows to images, uint8 (B, C, H, W).
        recipe: augment, channels_last.
        device: where the images are.

    Attributes:
        draw: where the augmentation comes from; seeded anew for every epoch.
    """

    def __init__(self, pick: Callable[[Tensor], Tensor], recipe: Recipe, device: torch.device) -> None:
        self.pick = pick
        self.spec = recipe.augment
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.draw = torch.Generator(device)
        self._rows: Tensor | None = None
        self._augmented = False
        self._images = torch.empty(0)

    def __call__(self, rows: Tensor, *, augmented: bool) -> Tensor:
        """Images float (B, C, H, W) of `rows`, int64 (B,)."""
        if rows is not self._rows or augmented is not self._augmented:
            pixels = self.pick(rows)
            if augmented:
                pixels = augment(pixels, self.spec, self.draw)
            self._images = to_float(pixels).contiguous(memory_format=self.layout)
            self._rows, self._augmented = rows, augmented
        return self._images

    def forget(self) -> None:
        """Let go of the last images."""
        self._rows, self._images = None, torch.empty(0)

    def __deepcopy__(self, memo: dict[int, object]) -> Source:
        return self


class RowModel(nn.Module):
    """A classifier behind a source of images.

    In training mode images are augmented. `watch` is told of the rows of every forward pass that is
    trained on: in training mode, with gradients.

    Args:
        classifier: the live one.
        source: from rows to images.
        precision: of the recipe.
    """

    def __init__(self, classifier: Classifier, source: Source, precision: str) -> None:
        super().__init__()
        self.classifier = classifier
        self.source = source
        self.dtype = AUTOCAST.get(precision)
        self.watch: Callable[[Tensor], None] = _nobody

    def features(self, rows: Tensor) -> Tensor:
        """What the criterion sees of `rows`, int64 (B,): (B, in_features)."""
        images = self.source(rows, augmented=self.training)
        if self.training and torch.is_grad_enabled():
            self.watch(rows)
        cast = nullcontext() if self.dtype is None else torch.autocast(images.device.type, self.dtype)
        with cast:
            return self.classifier.features(images)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, num_classes) of `rows`, with an `origin`."""
        features = self.features(rows)
        return carrying(self.classifier.criterion.logits(widen(features)), Origin(self, features, rows))

    def __deepcopy__(self, memo: dict[int, object]) -> RowModel:
        """A copy with weights of its own that nobody watches."""
        twin = RowModel.__new__(type(self))
        memo[id(self)] = twin
        nn.Module.__init__(twin)
        twin.classifier = copy.deepcopy(self.classifier, memo)
        twin.source, twin.dtype, twin.watch = self.source, self.dtype, _nobody
        twin.training = self.training
        return twin


def carrying(logits: Tensor, origin: Origin) -> Tensor:
    """`logits` with where they come from."""
    logits.origin = origin  # type: ignore[attr-defined]
    return logits


def origin_of(output: Tensor) -> Origin:
    """Where an output of `RowModel` comes from.

    Raises:
        RuntimeError: it is none, or was computed with since.
    """
    origin = getattr(output, "origin", None)
    if not isinstance(origin, Origin):
        raise RuntimeError("the strategy hands the criterion logits that do not come from its model")
    return origin


def part(output: Tensor, which: slice) -> Tensor:
    """Some images of an output of `RowModel`, with their origin."""
    origin = origin_of(output)
    return carrying(output[which], Origin(origin.model, origin.features[which], origin.rows[which]))


def _nobody(rows: Tensor) -> None:
    """Watches nothing."""
