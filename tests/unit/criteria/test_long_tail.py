from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.long_tail import (
    LDAM,
    BalancedSoftmax,
    ClassBalanced,
    Focal,
    LogitAdjustment,
    PostHocLogitAdjustment,
    effective_number_weights,
)
from tests.properties import name_of, properties
from tests.unit.criteria.slow import (
    CLASSES,
    COUNTS,
    WIDTH,
    batch,
    close,
    cosine,
    linear,
    mean,
    one_hot_rows,
    probabilities,
    rows,
    softmax_loss,
)

KINDS = [Focal, ClassBalanced, BalancedSoftmax, LogitAdjustment, PostHocLogitAdjustment, LDAM]


def started(kind, device=None, **arguments):
    """A criterion that was told of an imbalanced training set and is in its last epoch."""
    criterion = kind(WIDTH, CLASSES, **arguments)
    criterion.start_training(torch.tensor(COUNTS))
    criterion.start_epoch(9, 10)
    return criterion if device is None else criterion.double().to(device)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, kind, device):
    def make(in_features, num_classes):
        criterion = kind(in_features, num_classes)
        criterion.start_training(3 * 4 ** torch.arange(num_classes))
        criterion.start_epoch(9, 10)
        return criterion

    holds(make, device)


@pytest.fixture(params=["labels", "soft targets"])
def example(request, device):
    features, labels, soft = batch(device)
    return features, labels if request.param == "labels" else soft


def weights_of(counts, beta):
    raw = [(1 - beta) / (1 - beta**n) for n in counts]
    return [len(counts) * w / sum(raw) for w in raw]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_equals_the_slow_loop(gamma, example, device):
    features, targets = example
    criterion = started(Focal, device, gamma=gamma)
    losses = []
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        p = probabilities(z)
        losses.append(-sum(t * (1 - q) ** gamma * math.log(q) for t, q in zip(target, p, strict=True)))
    close(criterion(features, targets), mean(losses))


@pytest.mark.parametrize("gamma", [0.0, 1.5])
def test_class_balanced_equals_the_slow_loop(gamma, example, device):
    features, targets = example
    criterion = started(ClassBalanced, device, beta=0.99, gamma=gamma)
    criterion.class_weights.copy_(torch.tensor(weights_of(COUNTS, 0.99)))
    v = criterion.class_weights.tolist()
    losses = []
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        p = probabilities(z)
        losses.append(
            -sum(t * w * (1 - q) ** gamma * math.log(q) for t, w, q in zip(target, v, p, strict=True))
        )
    close(criterion(features, targets), mean(losses))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_effective_number_weights(beta):
    found = effective_number_weights(torch.tensor(COUNTS), beta).tolist()
    assert found == pytest.approx(weights_of(COUNTS, beta))
    assert sum(found) == pytest.approx(CLASSES)


def test_effective_number_between_none_and_inverse_frequency():
    assert effective_number_weights(torch.tensor(COUNTS), 0.0).tolist() == [1.0] * CLASSES
    inverse = [1 / n for n in COUNTS]
    nearly = effective_number_weights(torch.tensor(COUNTS), 1 - 1e-9).tolist()
    assert nearly == pytest.approx([CLASSES * v / sum(inverse) for v in inverse], rel=1e-5)


def test_balanced_softmax_equals_the_slow_loop(example, device):
    features, targets = example
    criterion = started(BalancedSoftmax, device)
    losses = []
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        parts = [n * math.exp(v) for n, v in zip(COUNTS, z, strict=True)]
        losses.append(-sum(t * math.log(p / sum(parts)) for t, p in zip(target, parts, strict=True)))
    assert criterion(features, targets).item() == pytest.approx(mean(losses), rel=1e-6)


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_logit_adjustment_equals_the_slow_loop(tau, example, device):
    features, targets = example
    criterion = started(LogitAdjustment, device, tau=tau)
    prior = [n / sum(COUNTS) for n in COUNTS]
    losses = []
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        losses.append(softmax_loss([v + tau * math.log(p) for v, p in zip(z, prior, strict=True)], target))
    assert criterion(features, targets).item() == pytest.approx(mean(losses), rel=1e-6)
    torch.testing.assert_close(
        criterion.logits(features).cpu(), torch.tensor(linear(criterion, features)).double()
    )


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_post_hoc_adjustment_equals_the_slow_loop(tau, example, device):
    features, targets = example
    criterion = started(PostHocLogitAdjustment, device, tau=tau)
    logits = linear(criterion, features)
    losses = [softmax_loss(z, t) for z, t in zip(logits, one_hot_rows(targets), strict=True)]
    torch.testing.assert_close(criterion.logits(features).cpu(), torch.tensor(logits).double())
    close(criterion(features, targets), mean(losses))
    criterion.eval()
    close(criterion(features, targets), mean(losses))
    prior = [n / sum(COUNTS) for n in COUNTS]
    adjusted = [[v - tau * math.log(p) for v, p in zip(z, prior, strict=True)] for z in logits]
    torch.testing.assert_close(
        criterion.logits(features).cpu(), torch.tensor(adjusted).double(), rtol=1e-6, atol=1e-6
    )


def ldam_loop(criterion, features, targets, scale, margins, weights):
    total = mass = 0.0
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        cosines = [cosine(x, w) for w in rows(criterion.weight)]
        logits = [scale * (c - m * t) for c, m, t in zip(cosines, margins, target, strict=True)]
        weight = sum(t * v for t, v in zip(target, weights, strict=True))
        total, mass = total + weight * softmax_loss(logits, target), mass + weight
    return total / mass


@pytest.mark.parametrize("epoch", [0, 9])
def test_ldam_equals_the_slow_loop(epoch, example, device):
    features, targets = example
    criterion = LDAM(WIDTH, CLASSES, scale=6.0, max_margin=0.4, beta=0.99).double().to(device)
    criterion.start_training(torch.tensor(COUNTS))
    criterion.start_epoch(epoch, 10)
    margins = [0.4 * (min(COUNTS) / n) ** 0.25 for n in COUNTS]
    weights = weights_of(COUNTS, 0.99) if epoch == 9 else [1.0] * CLASSES
    close(criterion(features, targets), ldam_loop(criterion, features, targets, 6.0, margins, weights))


@pytest.mark.parametrize(
    ("arguments", "epochs", "first"),
    [
        ({}, 200, 160),
        ({}, 10, 8),
        ({"reweight_after": 0.7}, 10, 7),
        ({"reweight_after": 0.0}, 10, 0),
        ({"reweight_after": 1.0}, 10, None),
        ({"reweight_epoch": 3}, 10, 3),
        ({"reweight_epoch": 160}, 10, None),
    ],
)
def test_ldam_defers_the_weights(arguments, epochs, first):
    criterion = LDAM(WIDTH, CLASSES, **arguments)
    criterion.start_training(torch.tensor(COUNTS))
    ones = torch.ones(CLASSES)
    weighted = []
    for epoch in range(epochs):
        criterion.start_epoch(epoch, epochs)
        weighted.append(not torch.equal(criterion.class_weights, ones))
    expected = epochs if first is None else first
    assert weighted == [epoch >= expected for epoch in range(epochs)]


def test_ldam_resumes_in_the_middle():
    """State and the next `start_epoch` are enough, without `start_training`."""
    criterion, resumed = started(LDAM), LDAM(WIDTH, CLASSES)
    resumed.load_state_dict(criterion.state_dict())
    for epoch in (3, 9):
        criterion.start_epoch(epoch, 10)
        resumed.start_epoch(epoch, 10)
        assert torch.equal(criterion.class_weights, resumed.class_weights)
    assert not torch.equal(resumed.class_weights, torch.ones(CLASSES))


def cross_entropy_of(criterion, features, targets):
    return torch.nn.functional.cross_entropy(criterion.logits(features), targets)


@pytest.mark.parametrize(
    ("kind", "arguments", "counts"),
    [
        (Focal, {"gamma": 0.0}, COUNTS),
        (ClassBalanced, {"beta": 0.0}, COUNTS),
        (ClassBalanced, {}, [7] * CLASSES),
        (BalancedSoftmax, {}, [7] * CLASSES),
        (LogitAdjustment, {}, [7] * CLASSES),
        (LogitAdjustment, {"tau": 0.0}, COUNTS),
        (PostHocLogitAdjustment, {}, COUNTS),
        (LDAM, {"max_margin": 0.0, "reweight_after": 1.0}, COUNTS),
        (LDAM, {"max_margin": 0.0}, [7] * CLASSES),
    ],
)
def test_limits_are_cross_entropy_of_the_logits(kind, arguments, counts, example, device):
    features, targets = example
    criterion = kind(WIDTH, CLASSES, **arguments).to(features)
    criterion.start_training(torch.tensor(counts))
    criterion.start_epoch(9, 10)
    found, expected = criterion(features, targets), cross_entropy_of(criterion, features, targets)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_all_classes_weigh_the_same(kind, device):
    features, labels, _ = batch(device)
    torch.manual_seed(0)
    fresh = kind(WIDTH, CLASSES).to(features)
    even = kind(WIDTH, CLASSES).to(features)
    even.load_state_dict(fresh.state_dict())
    even.start_training(torch.ones(CLASSES, dtype=torch.int64))
    torch.testing.assert_close(fresh(features, labels), even(features, labels))


@pytest.mark.parametrize("kind", KINDS)
def test_classes_without_images_count_as_one(kind, device):
    features, labels, _ = batch(device)
    none, one = kind(WIDTH, CLASSES).to(features), kind(WIDTH, CLASSES).to(features)
    one.load_state_dict(none.state_dict())
    none.start_training(torch.tensor([9, 4, 0, 2, 0]))
    one.start_training(torch.tensor([9, 4, 1, 2, 1]))
    for criterion in (none, one):
        criterion.start_epoch(9, 10)
    assert torch.isfinite(none(features, labels))
    torch.testing.assert_close(none(features, labels), one(features, labels))


def test_balanced_softmax_is_logit_adjustment_with_tau_one(device):
    features, labels, _ = batch(device)
    balanced, adjusted = started(BalancedSoftmax, device), started(LogitAdjustment, device)
    adjusted.load_state_dict(balanced.state_dict())
    torch.testing.assert_close(balanced(features, labels), adjusted(features, labels))


def test_focal_with_a_fractional_power_is_finite_where_certain(device):
    criterion = Focal(WIDTH, CLASSES, gamma=0.5).to(device)
    features = torch.ones(1, WIDTH, device=device, requires_grad=True)
    with torch.no_grad():
        criterion.weight.zero_()
        criterion.bias.copy_(torch.tensor([200.0, 0, 0, 0, 0]))
    criterion(features, torch.zeros(1, dtype=torch.int64, device=device)).backward()
    assert torch.isfinite(criterion.bias.grad).all()


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        (Focal, {"gamma": -1.0}, "gamma"),
        (ClassBalanced, {"beta": 1.0}, "beta"),
        (ClassBalanced, {"gamma": math.inf}, "gamma"),
        (LogitAdjustment, {"tau": -1.0}, "tau"),
        (PostHocLogitAdjustment, {"tau": math.nan}, "tau"),
        (LDAM, {"max_margin": -0.5}, "max_margin"),
        (LDAM, {"scale": 0.0}, "scale"),
        (LDAM, {"beta": 1.0}, "beta"),
        (LDAM, {"reweight_after": 1.5}, "reweight_after"),
        (LDAM, {"reweight_epoch": -1}, "reweight_epoch"),
    ],
)
def test_refuses_impossible_arguments(kind, arguments, named):
    with pytest.raises(ValueError, match=rf"^{named}: expected .*, found"):
        kind(WIDTH, CLASSES, **arguments)
