"""Losses of (logits, targets): each gets the targets it demands."""

from __future__ import annotations

import pytest
import timm.loss
import torch
from torch import Tensor, nn

from hugbench.criteria.adapt import LogitsLoss
from hugbench.criteria.softmax import CrossEntropy
from tests.properties import name_of, properties

LABELS_ONLY = [nn.MultiMarginLoss, timm.loss.LabelSmoothingCrossEntropy]
ONE_HOT_ONLY = [nn.BCEWithLogitsLoss, nn.MSELoss, timm.loss.SoftTargetCrossEntropy]
BOTH = [nn.CrossEntropyLoss, timm.loss.BinaryCrossEntropy]


class Draws(nn.Module):
    """A loss that counts its calls and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(logits, targets) + 0 * torch.rand(()).to(logits)


class Refuses(nn.Module):
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("not today")


def example() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=draw), torch.randint(3, (6,), generator=draw)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.BCEWithLogitsLoss])
@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, loss, device):
    holds(lambda d, c: LogitsLoss(d, c, loss=loss()), device)


@pytest.mark.parametrize("loss", LABELS_ONLY + ONE_HOT_ONLY + BOTH)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_each_loss_gets_the_targets_it_demands(loss, classes):
    features, _ = example()
    labels = torch.arange(6) % classes
    torch.manual_seed(0)
    criterion = LogitsLoss(4, classes, loss=loss())
    logits = features @ criterion.weight.T + criterion.bias
    given = torch.eye(classes)[labels] if loss in ONE_HOT_ONLY else labels
    torch.testing.assert_close(criterion(features, labels), loss()(logits, given))
    torch.testing.assert_close(criterion.logits(features), logits)


@pytest.mark.parametrize("loss", ONE_HOT_ONLY + BOTH)
def test_soft_targets_pass_through(loss):
    features, labels = example()
    soft = 0.8 * torch.eye(3)[labels] + 0.2 / 3
    criterion = LogitsLoss(4, 3, loss=loss())
    torch.testing.assert_close(criterion(features, soft), loss()(criterion.logits(features), soft))


@pytest.mark.parametrize("loss", LABELS_ONLY)
def test_soft_targets_are_refused_for_a_loss_of_labels(loss):
    features, labels = example()
    with pytest.raises(ValueError, match="expected one that takes soft targets"):
        LogitsLoss(4, 3, loss=loss())(features, torch.eye(3)[labels])


def test_the_head_is_that_of_cross_entropy():
    torch.manual_seed(0)
    ours = LogitsLoss(4, 3, loss=nn.CrossEntropyLoss())
    torch.manual_seed(0)
    theirs = CrossEntropy(4, 3)
    features, labels = example()
    assert torch.equal(ours(features, labels), theirs(features, labels))
    assert ours.proxies() is ours.weight


def test_finding_out_touches_neither_the_loss_nor_the_generator():
    torch.manual_seed(0)
    nn.Linear(4, 3)
    expected = torch.rand(())
    torch.manual_seed(0)
    criterion = LogitsLoss(4, 3, loss=Draws())
    assert torch.rand(()) == expected
    assert criterion.loss.calls == 0


def test_parameters_of_the_loss_are_the_criterions():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    assert "loss.weight" in LogitsLoss(4, 3, loss=loss).state_dict()


@pytest.mark.parametrize("loss", [Refuses(), nn.CosineEmbeddingLoss()])
def test_a_loss_of_something_else_is_refused(loss):
    with pytest.raises(ValueError, match=r"expected a module of \(logits, targets\)"):
        LogitsLoss(4, 3, loss=loss)


def test_a_loss_per_image_is_refused():
    features, labels = example()
    with pytest.raises(ValueError, match="expected a scalar loss"):
        LogitsLoss(4, 3, loss=nn.CrossEntropyLoss(reduction="none"))(features, labels)
