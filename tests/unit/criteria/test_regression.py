from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.regression import SigmoidBCE, SquaredError
from tests.properties import name_of, properties
from tests.unit.criteria.slow import CLASSES, WIDTH, batch, close, linear, mean, one_hot_rows


@pytest.mark.parametrize("kind", [SquaredError, SigmoidBCE])
@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, kind, device):
    holds(kind, device)


@pytest.mark.parametrize(("k", "m"), [(1.0, 1.0), (15.0, 30.0)])
def test_squared_error_equals_the_slow_loop(k, m, device):
    features, labels, _ = batch(device)
    criterion = SquaredError(WIDTH, CLASSES, true_class_weight=k, target_value=m).to(features)
    losses = []
    for z, label in zip(linear(criterion, features), labels.tolist(), strict=True):
        others = sum(z[c] ** 2 for c in range(CLASSES) if c != label)
        losses.append((k * (z[label] - m) ** 2 + others) / CLASSES)
    close(criterion(features, labels), mean(losses))


def test_squared_error_with_soft_targets_equals_the_slow_loop(device):
    features, _, mixed = batch(device)
    criterion = SquaredError(WIDTH, CLASSES, true_class_weight=3.0, target_value=2.0).to(features)
    losses = []
    for z, target in zip(linear(criterion, features), one_hot_rows(mixed), strict=True):
        terms = [(1 + 2 * t) * (v - 2 * t) ** 2 for v, t in zip(z, target, strict=True)]
        losses.append(sum(terms) / CLASSES)
    close(criterion(features, mixed), mean(losses))


@pytest.mark.parametrize("soft", [False, True])
def test_sigmoid_bce_equals_the_slow_loop(soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = SigmoidBCE(WIDTH, CLASSES).to(features)
    loss = 0.0
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        for v, t in zip(z, target, strict=True):
            p = 1 / (1 + math.exp(-v))
            loss -= t * math.log(p) + (1 - t) * math.log(1 - p)
    close(criterion(features, targets), loss / len(features))


def test_known_values(device):
    """Zero logits: 1/C with M = 1 and C log 2; perfect regression: 0."""
    features, labels, _ = batch(device)
    squared, sigmoid = SquaredError(WIDTH, CLASSES).to(features), SigmoidBCE(WIDTH, CLASSES).to(features)
    with torch.no_grad():
        for parameter in (*squared.parameters(), *sigmoid.parameters()):
            parameter.zero_()
    close(squared(features, labels), 1 / CLASSES)
    close(sigmoid(features, labels), CLASSES * math.log(2))
    with torch.no_grad():
        squared.weight[:, :CLASSES] = torch.eye(CLASSES)
    close(squared(torch.eye(WIDTH).to(features)[:CLASSES], torch.arange(CLASSES, device=device)), 0.0)


def test_sigmoids_start_at_one_over_the_classes(device):
    criterion = SigmoidBCE(WIDTH, CLASSES).to(device)
    start = criterion.logits(torch.zeros(1, WIDTH, device=device)).sigmoid()
    torch.testing.assert_close(start, torch.full_like(start, 1 / CLASSES))


@pytest.mark.parametrize("name", ["true_class_weight", "target_value"])
def test_refuses_impossible_arguments(name):
    with pytest.raises(ValueError, match=f"^{name}: expected a positive finite number, found 0"):
        SquaredError(WIDTH, CLASSES, **{name: 0.0})
