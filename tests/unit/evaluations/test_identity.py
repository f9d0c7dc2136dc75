from __future__ import annotations

import torch
from torch import nn

from hugbench.evaluations.identity import split_sha256, weights_sha256
from tests.unit.evaluations.corruption.make import images


def test_weights_are_told_apart_by_name_type_shape_and_bytes():
    first, second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    assert weights_sha256(first) == weights_sha256(second)
    second.num_batches_tracked += 1
    assert weights_sha256(first) != weights_sha256(second)
    second = nn.BatchNorm1d(3)
    with torch.no_grad():
        second.bias[1] = -0.0
    assert weights_sha256(first) != weights_sha256(second)
    assert weights_sha256(nn.Linear(2, 3)) != weights_sha256(nn.Linear(3, 2))
    assert weights_sha256(first.half()) != weights_sha256(nn.BatchNorm1d(3))


def test_splits_of_other_images_or_labels_differ() -> None:
    whole = images()
    assert split_sha256(whole) == split_sha256(images())
    assert split_sha256(whole.subset(torch.arange(5))) != split_sha256(whole.subset(torch.arange(6)))
    assert split_sha256(whole.subset(torch.tensor([0, 1]))) != split_sha256(
        whole.subset(torch.tensor([1, 0]))
    )
