"""A small classifier and small images, so that the loop is tested on its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.data.images import Images
from hugbench.suite.schema import Recipe

CLASSES = 3


class TensorImages(Images):
    """Images in memory."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images, targets
        self.shape = tuple(images.shape[1:])

    def subset(self, indices: Tensor) -> Images:
        return TensorImages(self.images[indices], self.targets[indices])

    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = torch.arange(len(self)) if order is None else order
        for indices in order.split(batch_size):
            if len(indices) == batch_size or not drop_last:
                yield self.images[indices].to(device), self.targets[indices].to(device), indices


class SoftmaxHead(Criterion):
    """Cross-entropy, weighted by class if wanted, that notes how it is called."""

    weighting = "recipe"

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.linear = nn.Linear(in_features, num_classes)
        self.calls: list[Any] = []

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        self.calls.append((features.dtype, targets.dtype, torch.is_autocast_enabled(features.device.type)))
        return nn.functional.cross_entropy(self.linear(features), targets, weight=self.recipe_weights)

    def logits(self, features: Tensor) -> Tensor:
        return self.linear(features)

    def start_training(self, class_counts: Tensor) -> None:
        self.calls.append(class_counts.tolist())

    def start_epoch(self, epoch: int, epochs: int) -> None:
        self.calls.append((epoch, epochs))


class TinyClassifier(nn.Module):
    """Convolution, batch norm, dropout, embedding: all that a resumed training could get wrong."""

    def __init__(self, drop: float = 0.0, criterion: type[Criterion] = SoftmaxHead) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(drop),
            nn.Linear(16, 5),
        )
        self.criterion = criterion(5, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        return self.backbone(images)

    def loss_of(self, features: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self.criterion(features.float(), targets)

    def forward(self, images: Tensor) -> Tensor:
        return self.criterion.logits(self.features(images))

    def no_weight_decay(self) -> set[str]:
        return {"criterion.linear.weight"}


def tiny(drop: float = 0.0, criterion: type[Criterion] = SoftmaxHead) -> Any:
    """The same classifier at every call."""
    torch.manual_seed(0)
    return TinyClassifier(drop, criterion)


def images(count: int = 50) -> TensorImages:
    """Images that are brighter the higher their label, so that something is learnt."""
    draw = torch.Generator().manual_seed(1)
    targets = torch.randint(CLASSES, (count,), generator=draw)
    noise = torch.randint(0, 128, (count, 2, 6, 6), generator=draw)
    return TensorImages((noise + 60 * targets[:, None, None, None]).to(torch.uint8), targets)


def recipe(**changed: Any) -> Recipe:
    """A short recipe with `changed` fields."""
    return Recipe.model_validate({"epochs": 3, "batch_size": 16, "lr": 0.1, **changed})


def weights(classifier: nn.Module) -> dict[str, Tensor]:
    """A copy of parameters and buffers, on the CPU."""
    return {name: copy.deepcopy(value).cpu() for name, value in classifier.state_dict().items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two classifiers are equal bit for bit."""
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
