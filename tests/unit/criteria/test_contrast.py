from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.base import one_hot
from hugbench.criteria.contrast import NONL, NTCE, SupCon
from tests.properties import name_of, properties
from tests.unit.criteria.slow import (
    BATCH,
    CLASSES,
    WIDTH,
    batch,
    close,
    cosine,
    dot,
    mean,
    one_hot_rows,
    rows,
)

WITHOUT = {NTCE: set(), NONL: set(), SupCon: {"gradients_of_parameters"}}  # SupCon has no parameters
CASES = [(kind, holds) for kind, without in WITHOUT.items() for holds in properties(without)]


@pytest.mark.parametrize(("kind", "holds"), CASES, ids=[f"{k.__name__}-{name_of(h)}" for k, h in CASES])
def test_properties(kind, holds, device):
    holds(kind, device)


@pytest.mark.parametrize("soft", [False, True])
def test_ntce_equals_the_slow_loop(soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = NTCE(WIDTH, CLASSES, temperature=0.3).to(features)
    x, w, t = rows(features), rows(criterion.weight), one_hot_rows(targets)
    loss = 0.0
    for i in range(BATCH):
        for c in range(CLASSES):
            over_batch = sum(math.exp(cosine(x[j], w[c]) / 0.3) for j in range(BATCH))
            loss -= t[i][c] * math.log(math.exp(cosine(x[i], w[c]) / 0.3) / over_batch)
    close(criterion(features, targets), loss / BATCH)


@pytest.mark.parametrize("soft", [False, True])
def test_nonl_equals_the_slow_loop(soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = NONL(WIDTH, CLASSES, temperature=0.3).to(features)
    x, w, t = rows(features), rows(criterion.weight), one_hot_rows(targets)
    loss = total = 0.0
    for i in range(BATCH):
        for c in range(CLASSES):
            negatives = sum((1 - t[j][c]) * math.exp(cosine(x[j], w[c]) / 0.3) for j in range(BATCH))
            loss -= t[i][c] * math.log(math.exp(cosine(x[i], w[c]) / 0.3) / negatives)
            total += t[i][c]
    close(criterion(features, targets), loss / total)


def supcon_loop(x, t, temperature):
    losses = []
    for i in range(len(x)):
        others = [a for a in range(len(x)) if a != i]
        total = sum(math.exp(cosine(x[i], x[a]) / temperature) for a in others)
        weights = {p: dot(t[i], t[p]) for p in others}
        if sum(weights.values()) == 0:
            continue
        loss = sum(
            w * math.log(math.exp(cosine(x[i], x[p]) / temperature) / total) for p, w in weights.items()
        )
        losses.append(-loss / sum(weights.values()))
    return losses


@pytest.mark.parametrize("soft", [False, True])
def test_supcon_equals_the_slow_loop(soft, device):
    """Classes 3 and 4 occur once: their images have no positives."""
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = SupCon(WIDTH, CLASSES, temperature=0.3).to(features)
    losses = supcon_loop(rows(features), one_hot_rows(targets), 0.3)
    assert len(losses) == (BATCH if soft else BATCH - 2)
    close(criterion(features, targets), mean(losses))


def test_supcon_without_any_positives_is_zero(device):
    features, _, _ = batch(device)
    criterion = SupCon(WIDTH, CLASSES).to(features)
    x = features[:CLASSES].requires_grad_()
    loss = criterion(x, torch.arange(CLASSES, device=device))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_supcon_at_collapse(device):
    """Two classes of two images at antipodes: log(e^{1/τ} + 2 e^{−1/τ}) − 1/τ."""
    criterion = SupCon(1, 2, temperature=0.5).double().to(device)
    features = torch.tensor([[2.0], [1.0], [-3.0], [-1.0]], dtype=torch.float64, device=device)
    labels = torch.tensor([0, 0, 1, 1], device=device)
    close(criterion(features, labels), math.log(math.exp(2) + 2 * math.exp(-2)) - 2)


def test_class_means_follow_the_batches(device):
    """Decayed sums of directions, class by class, only in training, and only where present."""
    features, labels, _ = batch(device)
    criterion = SupCon(WIDTH, CLASSES, momentum=0.5).to(features)
    assert torch.equal(criterion.logits(features), features.new_zeros(BATCH, CLASSES))
    expected = [[0.0] * WIDTH for _ in range(CLASSES)]
    for first, last in ((0, 5), (5, 9), (9, 12)):
        criterion(features[first:last], labels[first:last])
        chosen = labels[first:last].tolist()
        for c in set(chosen):
            expected[c] = [0.5 * v for v in expected[c]]
        for x, c in zip(rows(features[first:last]), chosen, strict=True):
            expected[c] = [v + u / math.sqrt(dot(x, x)) for v, u in zip(expected[c], x, strict=True)]
    torch.testing.assert_close(criterion.class_means.cpu(), torch.tensor(expected, dtype=torch.float64))
    criterion.eval()
    before = criterion.class_means.clone()
    criterion(features, labels)
    assert torch.equal(criterion.class_means, before)
    wanted = [[cosine(x, m) / 0.1 for m in expected] for x in rows(features)]
    torch.testing.assert_close(criterion.logits(features).cpu(), torch.tensor(wanted, dtype=torch.float64))


def test_class_means_take_soft_targets(device):
    features, labels, _ = batch(device)
    hard, soft = SupCon(WIDTH, CLASSES).to(features), SupCon(WIDTH, CLASSES).to(features)
    hard(features, labels)
    soft(features, one_hot(labels, CLASSES))
    torch.testing.assert_close(hard.class_means, soft.class_means)


def test_ntce_and_nonl_differ_by_the_own_class(device):
    """NTCE's sum has the own class's images on top, so its loss is larger; one image gives 0."""
    features, labels, _ = batch(device)
    torch.manual_seed(1)
    ntce, nonl = NTCE(WIDTH, CLASSES).to(features), NONL(WIDTH, CLASSES).to(features)
    nonl.load_state_dict(ntce.state_dict())
    assert ntce(features, labels).item() > nonl(features, labels).item()
    close(ntce(features[:1], labels[:1]), 0.0)


def test_nonl_at_collapse(device):
    """Two classes at antipodes: −log(e^{1/τ} / (n e^{−1/τ})) with n negatives."""
    criterion = NONL(1, 2, temperature=0.5).double().to(device)
    with torch.no_grad():
        criterion.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    features = torch.tensor([[2.0], [1.0], [-3.0], [-1.0]], dtype=torch.float64, device=device)
    close(criterion(features, torch.tensor([0, 0, 1, 1], device=device)), math.log(2) - 4)


def test_nonl_leaves_out_a_class_that_fills_the_batch(device):
    features, labels, _ = batch(device)
    criterion = NONL(WIDTH, CLASSES).to(features)
    x = features.requires_grad_()
    loss = criterion(x, torch.zeros_like(labels))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        (NTCE, {"temperature": 0.0}, "temperature"),
        (NONL, {"temperature": -0.1}, "temperature"),
        (SupCon, {"temperature": math.inf}, "temperature"),
        (SupCon, {"momentum": 1.0}, "momentum"),
    ],
)
def test_refuses_impossible_arguments(kind, arguments, named):
    with pytest.raises(ValueError, match=rf"^{named}: expected .*, found"):
        kind(WIDTH, CLASSES, **arguments)
