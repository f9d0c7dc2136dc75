"""Cross-entropy: against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.softmax import CrossEntropy
from tests.properties import name_of, properties


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("holds", properties(without={"rotation_invariant"}), ids=name_of)
def test_properties(holds, smoothing, device):
    holds(lambda d, c: CrossEntropy(d, c, label_smoothing=smoothing), device)


def test_turning_features_and_weights_changes_nothing(device):
    (holds,) = (p for p in properties() if name_of(p) == "rotation_invariant")
    holds(CrossEntropy, device)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_equals_a_slow_loop(smoothing, soft):
    torch.manual_seed(0)
    criterion = CrossEntropy(4, 3, label_smoothing=smoothing).double()
    features, labels = torch.randn(5, 4, dtype=torch.float64), [0, 2, 1, 1, 0]
    targets = torch.rand(5, 3, dtype=torch.float64)
    targets = targets / targets.sum(1, keepdim=True) if soft else torch.eye(3, dtype=torch.float64)[labels]
    total = 0.0
    for x, t in zip(features, targets, strict=True):
        z = [float(torch.dot(w, x) + b) for w, b in zip(criterion.weight, criterion.bias, strict=True)]
        log_sum = math.log(sum(math.exp(v) for v in z))
        for c in range(3):
            total -= ((1 - smoothing) * float(t[c]) + smoothing / 3) * (z[c] - log_sum) / 5
    found = criterion(features, targets if soft else torch.tensor(labels))
    assert found.item() == pytest.approx(total, rel=1e-10)


def test_proxies_are_the_weights():
    criterion = CrossEntropy(4, 3)
    assert criterion.proxies() is criterion.weight
    assert not criterion.bounded_logits


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_impossible_smoothing_is_refused(smoothing):
    with pytest.raises(ValueError, match="label_smoothing: expected between 0 and 1"):
        CrossEntropy(4, 3, label_smoothing=smoothing)
