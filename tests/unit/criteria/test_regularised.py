from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.regularised import CrossEntropyMHE, LogitNorm
from tests.properties import name_of, properties
from tests.unit.criteria.slow import (
    CLASSES,
    WIDTH,
    batch,
    close,
    cosine,
    dot,
    linear,
    mean,
    one_hot_rows,
    rows,
    softmax_loss,
)


@pytest.mark.parametrize("kind", [CrossEntropyMHE, LogitNorm])
@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, kind, device):
    holds(kind, device)


@pytest.mark.parametrize("s", [2.0, 1.0, 0.0, -1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_mhe_equals_the_slow_loop(s, soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = CrossEntropyMHE(WIDTH, CLASSES, energy_weight=0.7, s=s).to(features)
    logits = linear(criterion, features)
    fit = mean([softmax_loss(z, t) for z, t in zip(logits, one_hot_rows(targets), strict=True)])
    energies = []
    for c, u in enumerate(rows(criterion.weight)):
        for v in rows(criterion.weight)[:c]:
            chord = math.sqrt(2 - 2 * cosine(u, v))
            energies.append(chord**-s if s > 0 else -math.log(chord) if s == 0 else -(chord**-s))
    close(criterion(features, targets), fit + 0.7 * mean(energies))


def test_without_weight_mhe_is_cross_entropy(device):
    features, labels, _ = batch(device)
    criterion = CrossEntropyMHE(WIDTH, CLASSES, energy_weight=0.0).to(features)
    expected = torch.nn.functional.cross_entropy(criterion.logits(features), labels)
    torch.testing.assert_close(criterion(features, labels), expected)


def test_energy_alone_spreads_the_weights_to_the_simplex(device):
    """With a large weight the class weights reach mean cosine −1/(C − 1) and energy (C − 1)/(2C)."""
    torch.manual_seed(0)
    criterion = CrossEntropyMHE(WIDTH, CLASSES, energy_weight=100.0).to(device)
    features, labels, _ = batch(device)
    optimizer = torch.optim.Adam(criterion.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        criterion(0.0 * features.float(), labels).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(criterion.proxies().detach(), dim=1).cpu()
    expected = torch.full((CLASSES, CLASSES), -1 / (CLASSES - 1)).fill_diagonal_(1)
    torch.testing.assert_close(unit @ unit.T, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("soft", [False, True])
def test_logit_norm_equals_the_slow_loop(soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = LogitNorm(WIDTH, CLASSES, temperature=0.2).to(features)
    losses, expected = [], []
    for z, target in zip(linear(criterion, features), one_hot_rows(targets), strict=True):
        expected.append([v / math.sqrt(dot(z, z)) / 0.2 for v in z])
        losses.append(softmax_loss(expected[-1], target))
    close(criterion(features, targets), mean(losses))
    torch.testing.assert_close(criterion.logits(features).cpu(), torch.tensor(expected).double())


def test_logit_norm_does_not_see_the_length_of_logits(device):
    features, labels, _ = batch(device)
    criterion = LogitNorm(WIDTH, CLASSES).to(features)
    before = criterion(features, labels)
    with torch.no_grad():
        criterion.weight.mul_(7)
        criterion.bias.mul_(7)
    torch.testing.assert_close(criterion(features, labels), before)
    lengths = torch.linalg.vector_norm(criterion.logits(features), dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 25.0))


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        (CrossEntropyMHE, {"energy_weight": -1.0}, "energy_weight"),
        (CrossEntropyMHE, {"s": 50.0}, "s"),
        (LogitNorm, {"temperature": 0.0}, "temperature"),
    ],
)
def test_refuses_impossible_arguments(kind, arguments, named):
    with pytest.raises(ValueError, match=rf"^{named}: expected .*, found"):
        kind(WIDTH, CLASSES, **arguments)
