from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.harmonic import Harmonic
from tests.properties import name_of, properties
from tests.unit.criteria.slow import CLASSES, WIDTH, batch, close, mean, one_hot_rows, rows


@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, device):
    holds(Harmonic, device)


@pytest.mark.parametrize("exponent", [None, 1.0, 7.0])
@pytest.mark.parametrize("soft", [False, True])
def test_equals_the_slow_loop(exponent, soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = Harmonic(WIDTH, CLASSES, exponent=exponent).to(features)
    n = math.sqrt(WIDTH) if exponent is None else exponent
    losses, powers = [], []
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        squares = [sum((a - b) ** 2 for a, b in zip(x, w, strict=True)) for w in rows(criterion.centres)]
        powers.append([math.sqrt(q + 1e-4) ** -n for q in squares])
        total = sum(powers[-1])
        losses.append(-sum(t * math.log(p / total) for t, p in zip(target, powers[-1], strict=True)))
    close(criterion(features, targets), mean(losses))
    expected = torch.tensor(powers, dtype=torch.float64).log()
    torch.testing.assert_close(criterion.logits(features).cpu(), expected)


def test_nearest_centre_is_predicted(device):
    features, _, _ = batch(device)
    criterion = Harmonic(WIDTH, CLASSES).to(features)
    nearest = torch.cdist(features, criterion.centres).argmin(1)
    assert torch.equal(criterion.logits(features).argmax(1), nearest)


def test_scale_invariance(device):
    """Scaling features and centres alike leaves the loss, but for the 1e-4, as it is."""
    features, labels, _ = batch(device)
    criterion = Harmonic(WIDTH, CLASSES).to(features)
    before = criterion(features, labels)
    with torch.no_grad():
        criterion.centres.mul_(10)
    torch.testing.assert_close(criterion(10 * features, labels), before, rtol=1e-3, atol=0)


def test_equidistant_from_all_centres(device):
    """All probabilities are 1/C, whatever the exponent."""
    criterion = Harmonic(WIDTH, CLASSES, exponent=9.0).double().to(device)
    with torch.no_grad():
        criterion.centres.copy_(torch.eye(CLASSES, WIDTH))
    features = torch.zeros(3, WIDTH, dtype=torch.float64, device=device)
    close(criterion(features, torch.tensor([0, 3, 4], device=device)), math.log(CLASSES))


@pytest.mark.parametrize("exponent", [0.0, -1.0, math.nan])
def test_refuses_impossible_arguments(exponent):
    with pytest.raises(ValueError, match=r"^exponent: expected a positive finite number, found"):
        Harmonic(WIDTH, CLASSES, exponent=exponent)
