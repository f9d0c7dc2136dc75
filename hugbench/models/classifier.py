"""The classifier: normalise → backbone → dropout → embedding → the criterion's head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from hugbench.criteria.base import Criterion
from hugbench.criteria.sphere import widen


class Classifier(nn.Module):
    """Images in [0, 1] to logits, with the loss that trains it; proxies and statistics included.

    Normalisation lives inside, so a perturbation of 8/255 means 8/255 whoever makes it. The
    parameters of the criterion (its head, its proxies) are parameters of the classifier: it moves,
    trains, saves and loads as one. `forward` gives logits; what wraps a module's forward in training,
    such as DistributedDataParallel, wants a module whose forward is `loss`.

    Args:
        backbone: images (B, C, H, W) to pooled features (B, width), such as a timm model with
            `num_classes=0`.
        criterion: the loss and its head, for features as wide as the embedding's.
        mean: per channel in [0, 1]; its length is the number of channels.
        std: per channel, positive.
        embedding: from pooled features to features; None takes them as they are.
        drop_rate: dropout on the pooled features, in [0, 1].

    Raises:
        ValueError: `mean` and `std` differ in length, or a standard deviation is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        criterion: Criterion,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        embedding: nn.Module | None = None,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"std: expected {len(mean)} numbers, as many as mean has, found {len(std)}")
        if not all(value > 0 for value in std):
            raise ValueError(f"std: expected positive numbers, found {tuple(std)}")
        self.channels = len(mean)
        self.backbone = backbone
        self.dropout = nn.Dropout(drop_rate)
        self.embedding = nn.Identity() if embedding is None else embedding
        self.criterion = criterion
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    @classmethod
    def load(cls, directory: str | Path, *, trust_code: bool = False) -> Classifier:
        """A classifier that `hugbench export` wrote, on the CPU and in evaluation mode.

        Args:
            directory: the folder.
            trust_code: run the folder's `criterion.py`, where its loss was defined in a file of one's own.

        Raises:
            UserError: it is no such folder, or holds code that is not trusted.
            CorruptFile: the weights are damaged.
        """
        from hugbench.models.folder import load_folder

        return load_folder(directory, trust_code=trust_code)

    def features(self, images: Tensor) -> Tensor:
        """What the criterion sees: (B, in_features).

        Args:
            images: (B, channels, H, W), floating point in [0, 1].

        Raises:
            ValueError: wrong rank, number of channels or dtype.
        """
        if images.ndim != 4 or images.shape[1] != self.channels or not images.is_floating_point():
            raise ValueError(
                f"images: expected floating point (B, {self.channels}, H, W) in [0, 1], "
                f"found {images.dtype} {tuple(images.shape)}"
            )
        pooled = self.backbone((images - self.mean) / self.std)
        features: Tensor = self.embedding(self.dropout(pooled))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, channels, H, W) in [0, 1]."""
        return self.criterion.logits(self.features(images))

    def loss_of(self, features: Tensor, targets: Tensor) -> Tensor:
        """The criterion's loss, a scalar, in float32 whatever the autocast around it.

        Args:
            features: (B, in_features), as `features` gives them.
            targets: labels int64 (B,), or soft targets (B, num_classes).
        """
        with torch.autocast(features.device.type, enabled=False):
            loss: Tensor = self.criterion(widen(features), targets)
            return loss

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss of images (B, channels, H, W) in [0, 1], a scalar."""
        return self.loss_of(self.features(images), targets)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone, as the backbone and the criterion say."""
        patterns = [f"criterion.{name}" for name in self.criterion.no_weight_decay()]
        of_backbone = getattr(self.backbone, "no_weight_decay", set)
        patterns += [f"backbone.{name}" for name in of_backbone()]
        names = [name for name, _ in self.named_parameters()]
        return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode; afterwards each of its parts is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
