"""Images of other data sets in the shape of one's own, and images that show nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from hugbench.data.decode import conformed
from hugbench.data.images import Dataset, Images, moved, rounds
from hugbench.data.sources import loaded
from hugbench.data.splits import balanced
from hugbench.seeding import generator
from hugbench.suite.schema import DatasetSpec

Synthetic = Literal["uniform_noise", "gaussian_noise", "constant"]
SYNTHETIC: tuple[Synthetic, ...] = get_args(Synthetic)


def other(name: str, root: Path, tell: Callable[[str], None]) -> Dataset:
    """A data set that is in the data folder, loaded once per process.

    Raises:
        UserError: its files cannot be read.
    """
    return loaded(DatasetSpec(name=name), root, notify=tell)


def sample(targets: Tensor, classes: tuple[str, ...], count: int, name: str) -> Tensor:
    """Which images to take of at most `count`, as many of each class as can be; the same whoever asks.

    Args:
        targets: labels int64 (N,).
        classes: the names of the classes.
        count: how many, at least 1; with fewer than there are classes, any.
        name: of the set.

    Returns:
        Places int64 (min(N, count),), rising.
    """
    if count >= len(classes):
        return balanced(targets, classes, count, 0, "ood")
    order = torch.randperm(len(targets), generator=generator(0, "subset", "ood", name))
    return order[:count].sort().values


class _Made(Images, ABC):
    """Images that are made when they are needed."""

    def __init__(self, targets: Tensor, shape: tuple[int, int, int]) -> None:
        self.targets, self.shape = targets, shape

    @abstractmethod
    def _make(self, indices: Tensor) -> Tensor:
        """The images at `indices`, uint8, on the CPU."""

    def subset(self, indices: Tensor) -> Images:
        """The images at `indices` (int64, CPU), in that order."""
        return _Chosen(self, indices)

    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Images.batches`."""
        for indices in rounds(len(self), batch_size, order, drop_last):
            yield moved(self._make(indices), device), self.targets[indices].to(device), indices


class _Chosen(_Made):
    """Some of the images that are made."""

    def __init__(self, whole: _Made, rows: Tensor) -> None:
        super().__init__(whole.targets[rows], whole.shape)
        self._whole, self._rows = whole, rows

    def _make(self, indices: Tensor) -> Tensor:
        return self._whole._make(self._rows[indices])


class Conformed(_Made):
    """Images of another set as ours would be decoded (`hugbench.data.decode.conformed`).

    Args:
        images: of any shape.
        shape: (channels, height, width) of ours.
    """

    def __init__(self, images: Images, shape: tuple[int, int, int]) -> None:
        super().__init__(images.targets, shape)
        self._images = images

    def _make(self, indices: Tensor) -> Tensor:
        pixels = next(self._images.batches(len(indices), torch.device("cpu"), indices))[0]
        return torch.from_numpy(conformed(pixels.numpy(), self.shape))


class Unnatural(_Made):
    """Images that show nothing, each drawn from a generator of its own; the same for every run.

    uniform_noise: every value uniform in 0 to 255. gaussian_noise: every value normal with mean and
    deviation of the training images' channel, cut to 0 to 255. constant: one uniform colour.

    Args:
        kind: which of these.
        count: how many images.
        dataset: of the training images: shape, mean and deviation.
    """

    def __init__(self, kind: Synthetic, count: int, dataset: Dataset) -> None:
        super().__init__(torch.zeros(count, dtype=torch.int64), dataset.train.shape)
        self._kind = kind
        self._mean = 255 * torch.tensor(dataset.mean).view(-1, 1, 1)
        self._std = 255 * torch.tensor(dataset.std).view(-1, 1, 1)

    def _make(self, indices: Tensor) -> Tensor:
        return torch.stack([self._image(index) for index in indices.tolist()])

    def _image(self, index: int) -> Tensor:
        draw = generator(0, "ood", self._kind, index)
        if self._kind == "gaussian_noise":
            values = self._mean + self._std * torch.randn(self.shape, generator=draw)
            return values.round().clamp(0, 255).to(torch.uint8)
        size = (self.shape[0], 1, 1) if self._kind == "constant" else self.shape
        return torch.randint(0, 256, size, generator=draw, dtype=torch.uint8).expand(self.shape)
