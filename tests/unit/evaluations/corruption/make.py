"""A small data set of noise, a classifier for it, and folders of its images made brighter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hugbench.criteria.softmax import CrossEntropy
from hugbench.data.images import Dataset, ResidentImages
from hugbench.models import Classifier

CLASSES, PER_CLASS, SIDE = 4, 6, 8
CPU = torch.device("cpu")


def images(seed: int = 0, channels: int = 3) -> ResidentImages:
    """Labels 0, 1, 2, 3, 0, 1, ... ."""
    draw = torch.Generator().manual_seed(seed)
    count = CLASSES * PER_CLASS
    pixels = torch.randint(0, 200, (count, channels, SIDE, SIDE), generator=draw, dtype=torch.uint8)
    return ResidentImages(pixels, torch.arange(count) % CLASSES)


def dataset(test: ResidentImages | None = None, name: str = "noise", checksum: str = "0" * 64) -> Dataset:
    split = images() if test is None else test
    channels = split.shape[0]
    classes = tuple(f"c{i}" for i in range(CLASSES))
    return Dataset(name, classes, split, None, split, (0.5,) * channels, (0.3,) * channels, checksum)


def classifier(channels: int = 3, seed: int = 1, side: int = SIDE, classes: int = CLASSES) -> Classifier:
    """A random linear map of the pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = channels * side * side
        head = CrossEntropy(width, classes)
        return Classifier(nn.Flatten(), head, mean=(0.5,) * channels, std=(0.3,) * channels)


def all_pixels(split: ResidentImages) -> np.ndarray:
    """uint8 (N, H, W, C)."""
    return next(split.batches(len(split), CPU))[0].permute(0, 2, 3, 1).numpy()


def published(
    path: Path, split: ResidentImages, *, kinds=("fog", "brightness"), order: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """A folder like CIFAR-10-C, whose image i is `split`'s `order[i]`, brighter with every severity."""
    path.mkdir(parents=True, exist_ok=True)
    order = np.arange(len(split)) if order is None else order
    pixels = all_pixels(split)[order].astype(int)
    files = {
        kind: np.concatenate([np.minimum(pixels + 10 * s + place, 255) for s in range(1, 6)]).astype(np.uint8)
        for place, kind in enumerate(kinds)
    }
    for kind, array in files.items():
        np.save(path / f"{kind}.npy", array)
    np.save(path / "labels.npy", np.tile(split.targets.numpy()[order], 5).astype(np.uint8))
    return files
