"""Cross-entropy: against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.softmax import CrossEntropy
from tests.properties import name_of, properties


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, smoothing, device):
    holds(lambda d, c: CrossEntropy(d, c, label_smoothing=smoothing), device)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_equals_a_slow_loop(smoothing, soft):
    torch.manual_seed(0)
    criterion = CrossEntropy(4, 3, label_smoothing=smoothing).double()
    features, labels = torch.randn(5, 4, dtype=torch.float64), [0, 2, 1, 1, 0]
    targets = torch.rand(5, 3, dtype=torch.float64)
    targets = targets / targets.sum(1, keepdim=True) if soft else torch.eye(3, dtype=torch.float64)[labels]
    head = list(zip(criterion.weight.tolist(), criterion.bias.tolist(), strict=True))
    total = 0.0
    for x, t in zip(features, targets, strict=True):
        z = [sum(w * v for w, v in zip(row, x.tolist(), strict=True)) + b for row, b in head]
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
