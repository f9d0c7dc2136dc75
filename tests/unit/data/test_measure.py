from __future__ import annotations

import hashlib
import statistics

import numpy as np
import pytest
import torch

from hugbench.data import measure as module
from hugbench.data.images import ResidentImages
from hugbench.data.measure import mean_and_std, measure


def split(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 2, 3, 4), generator=draw, dtype=torch.uint8)
    return images, torch.randint(0, 5, (count,), generator=draw)


@pytest.mark.parametrize("values", [1, 100, 1 << 20])
def test_checksum_and_sums_do_not_depend_on_the_batches(monkeypatch, values: int) -> None:
    monkeypatch.setattr(module, "_VALUES", values)
    train, test = split(0, 13), split(1, 6)
    sums, checksum = measure(ResidentImages(*train), ResidentImages(*test))
    digest = hashlib.sha256()
    for images, targets in (train, test):
        digest.update(str(tuple(images.shape)).encode())
        for pixel in images.flatten().tolist():
            digest.update(bytes([pixel]))
        for label in targets.tolist():
            digest.update(label.to_bytes(8, "little"))
    assert checksum == digest.hexdigest()
    for n in range(13):
        for c in range(2):
            found = train[0][n, c].flatten().tolist()
            assert sums[n, :, c].tolist() == [sum(found), sum(value**2 for value in found)]


def test_mean_and_deviation_of_chosen_images() -> None:
    images, targets = split(0, 20)
    sums, _ = measure(ResidentImages(images, targets), ResidentImages(images, targets))
    chosen = torch.tensor([1, 4, 7, 8])
    mean, std = mean_and_std(sums[chosen], 12)
    for c in range(2):
        values = [value / 255 for value in images[chosen, c].flatten().tolist()]
        assert mean[c] == pytest.approx(statistics.fmean(values), rel=1e-14)
        assert std[c] == pytest.approx(statistics.pstdev(values), rel=1e-12)


@pytest.mark.parametrize("value", [0, 3, 255])
def test_a_constant_channel_has_the_smallest_deviation(value: int) -> None:
    images = torch.full((4, 1, 9, 9), value, dtype=torch.uint8)
    labels = torch.zeros(4, dtype=torch.int64)
    sums, _ = measure(ResidentImages(images, labels), ResidentImages(images, labels))
    assert mean_and_std(sums, 81) == ((value / 255,), (1 / 255,))


def test_swapped_images_or_labels_change_the_checksum() -> None:
    images, targets = split(0, 4)
    targets = torch.arange(4)
    swap = torch.tensor([1, 0, 2, 3])

    def checksum(images: torch.Tensor, targets: torch.Tensor) -> str:
        return measure(ResidentImages(images, targets), ResidentImages(images, targets))[1]

    turned = torch.from_numpy(np.ascontiguousarray(images.numpy().reshape(4, 2, 4, 3)))
    variants = [(images, targets), (images[swap], targets), (images, targets[swap]), (turned, targets)]
    assert len({checksum(*variant) for variant in variants}) == 4
