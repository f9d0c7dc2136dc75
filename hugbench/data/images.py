"""A split of a data set: uint8 images and their labels, in memory or on disk, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


class Images(ABC):
    """N images of one split, with `targets` an int64 tensor (N,) on the CPU.

    Attributes:
        targets: labels in [0, C), int64 (N,).
        shape: (channels, height, width) of every image.
    """

    targets: Tensor
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def subset(self, indices: Tensor) -> Images:
        """The images at `indices` (int64, CPU), in that order."""

    @abstractmethod
    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches (images uint8 (B, C, H, W), targets int64 (B,), indices int64 (B,)).

        Images and targets are on `device`, indices (into this split) on the CPU. `order` is a
        permutation or selection (int64, CPU); None goes through the split as it is.
        """


@dataclass(frozen=True)
class Dataset:
    """A data set as a run sees it.

    Attributes:
        name: the name in the suite.
        classes: class names, C of them; label i is `classes[i]`.
        train: what is trained on (the validation images are not in it).
        validation: held-out training images, or None.
        test: test images.
        mean, std: per channel in [0, 1], of the training images.
        checksum: sha256 over all images and labels of the full data set.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    validation: Images | None
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str
