"""Images in memory, and a classifier whose logits are its pixels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.images import Dataset, Images
from hugbench.evaluations.base import Setting
from hugbench.models import Classifier


class InMemory(Images):
    """uint8 images (N, C, H, W) with their labels."""

    def __init__(self, pixels: Tensor, targets: Tensor) -> None:
        self.pixels, self.targets = pixels, targets
        self.shape = tuple(pixels.shape[1:])

    def subset(self, indices: Tensor) -> InMemory:
        return InMemory(self.pixels[indices], self.targets[indices])

    def batches(self, batch_size, device, order=None, drop_last=False) -> Iterator[tuple[Tensor, ...]]:
        torch.rand(())  # as a DataLoader, draws from the global generator
        order = torch.arange(len(self)) if order is None else order
        for indices in order.split(batch_size):
            yield self.pixels[indices].to(device), self.targets[indices].to(device), indices


def levels(rows, targets) -> InMemory:
    """One image per row, of one pixel per channel; values in 0..255."""
    pixels = torch.as_tensor(rows, dtype=torch.uint8)
    return InMemory(pixels[:, :, None, None], torch.as_tensor(targets, dtype=torch.int64))


def dataset(train, test, validation=None) -> Dataset:
    channels = train.shape[0]
    classes = tuple(f"c{i}" for i in range(channels))
    return Dataset("levels", classes, train, validation, test, (0.0,) * channels, (1.0,) * channels, "0" * 64)


def mirror(classes: int, scale: float = 255.0, criterion=CrossEntropy) -> Classifier:
    """Features are the pixels in [0, 1]; the logits of CrossEntropy are `scale` times these."""
    head = criterion(classes, classes)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(torch.zeros(classes) if name == "bias" else scale * torch.eye(classes))
    return Classifier(nn.Flatten(), head, mean=(0.0,) * classes, std=(1.0,) * classes)


@pytest.fixture
def setting(device):
    """A setting over a data set, three images at a time."""
    return lambda data: Setting(data, device, seed=0, batch_size=3)
