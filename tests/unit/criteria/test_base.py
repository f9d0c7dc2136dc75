"""The contract of a criterion: what the base checks for every subclass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hugbench.criteria.base import Criterion, one_hot


class Least(Criterion):
    """The smallest criterion there is."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return features.square().mean()

    def logits(self, features: Tensor) -> Tensor:
        return features.new_zeros(len(features), self.num_classes)


class PerImage(Least):
    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        return features.square().mean(1)


def test_abstract_without_loss_and_logits():
    with pytest.raises(TypeError, match="abstract"):
        Criterion(4, 3)


@pytest.mark.parametrize(("d", "c", "message"), [
    (0, 3, "in_features: expected at least 1, found 0"),
    (-2, 3, "in_features: expected at least 1, found -2"),
    (4, 1, "num_classes: expected at least 2, found 1"),
])  # fmt: skip
def test_impossible_sizes(d, c, message):
    with pytest.raises(ValueError, match=message):
        Least(d, c)


@pytest.mark.parametrize(("features", "targets", "message"), [
    (torch.zeros(2, 5), torch.zeros(2, dtype=torch.long), r"Least: features: expected shape \(B, 4\), found \(2, 5\)"),
    (torch.zeros(2, 4, 1), torch.zeros(2, dtype=torch.long), r"found \(2, 4, 1\)"),
    (torch.zeros(2, 4), torch.zeros(3, dtype=torch.long), r"targets: expected shape \(2,\), found \(3,\)"),
    (torch.zeros(2, 4), torch.zeros(2, 2), r"targets: expected shape \(2, 3\), found \(2, 2\)"),
    (torch.zeros(2, 4), torch.tensor([0, 3]), r"expected labels in \[0, 3\), found 0 to 3"),
    (torch.zeros(2, 4), torch.tensor([-1, 0]), r"expected labels in \[0, 3\), found -1 to 0"),
])  # fmt: skip
def test_bad_batches_are_named(features, targets, message, device):
    with pytest.raises(ValueError, match=message):
        Least(4, 3)(features.to(device), targets.to(device))


def test_bad_labels_are_found_in_a_later_batch_on_a_cpu():
    criterion = Least(4, 3)
    criterion(torch.zeros(2, 4), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="expected labels"):
        criterion(torch.zeros(2, 4), torch.tensor([0, 9]))


def test_the_loss_is_one_number():
    with pytest.raises(ValueError, match=r"PerImage: expected a scalar loss, found shape \(2,\)"):
        PerImage(4, 3)(torch.zeros(2, 4), torch.tensor([0, 1]))


def test_defaults():
    criterion = Least(4, 3)
    assert criterion.proxies() is None
    assert criterion.no_weight_decay() == set()
    assert repr(criterion) == "Least(in_features=4, num_classes=3)"


def test_one_hot_equals_a_loop():
    labels = torch.tensor([2, 0, 1, 2])
    expected = [[float(c == label) for c in range(3)] for label in labels.tolist()]
    assert one_hot(labels, 3).tolist() == expected
    soft = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    assert one_hot(soft, 2).tolist() == soft.tolist()
