from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.frames import (
    ETFDotRegression,
    HypersphericalPrototypes,
    MaximumClassSeparation,
    separate,
)
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
    softmax_loss,
)

# A fixed frame has no parameters; the matrix of maximum separation is not per class in its state.
WITHOUT = {
    ETFDotRegression: {"gradients_of_parameters"},
    HypersphericalPrototypes: {"gradients_of_parameters"},
    MaximumClassSeparation: {"permutation_equivariant"},
}
CASES = [(kind, holds) for kind, without in WITHOUT.items() for holds in properties(without)]


@pytest.mark.parametrize(("kind", "holds"), CASES, ids=[f"{k.__name__}-{name_of(h)}" for k, h in CASES])
def test_properties(kind, holds, device):
    holds(kind, device)


def paper_matrix(k: int) -> list[list[float]]:
    """Kasarla's P_k, k rows and k + 1 columns, by its recursion."""
    if k == 1:
        return [[1.0, -1.0]]
    shrunk = [[0.0] + [math.sqrt(1 - 1 / k**2) * v for v in row] for row in paper_matrix(k - 1)]
    return [[1.0] + [-1 / k] * k, *shrunk]


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 40])
def test_separation_is_the_papers_up_to_a_rotation(classes):
    identity = torch.eye(classes - 1, dtype=torch.float64)
    vertices = separate(identity).T
    theirs = torch.tensor(paper_matrix(classes - 1), dtype=torch.float64).T
    torch.testing.assert_close(vertices @ vertices.T, theirs @ theirs.T)
    expected = torch.full((classes, classes), -1 / (classes - 1), dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(vertices @ vertices.T, expected)


@pytest.mark.parametrize("kind", [ETFDotRegression, HypersphericalPrototypes])
@pytest.mark.parametrize(("width", "classes"), [(1, 2), (4, 5), (16, 10), (99, 100)])
def test_frames_are_simplices(kind, width, classes, device):
    frame = kind(width, classes).to(device).proxies()
    expected = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1)
    torch.testing.assert_close((frame @ frame.T).cpu(), expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(frame.sum(0).cpu(), torch.zeros(width), rtol=0, atol=1e-5)


def test_prototypes_beyond_the_simplex_lie_apart(device):
    """Ten points on the circle: the best smallest angle is 36 degrees, where random ones have some 2."""
    frame = HypersphericalPrototypes(2, 10).to(device).proxies()
    closest = (frame @ frame.T).fill_diagonal_(-1).max().item()
    assert math.degrees(math.acos(closest)) > 33


def test_frames_differ_by_seed_and_stay_in_the_state():
    torch.manual_seed(0)
    one = ETFDotRegression(WIDTH, CLASSES)
    other = ETFDotRegression(WIDTH, CLASSES)
    assert not torch.allclose(one.proxies(), other.proxies(), atol=0.1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.proxies(), other.proxies())


@pytest.mark.parametrize("soft", [False, True])
def test_dot_regression_equals_the_slow_loop(soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = ETFDotRegression(WIDTH, CLASSES).to(features)
    losses = []
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        frame = rows(criterion.proxies())
        losses.append(sum(t * 0.5 * (cosine(x, m) - 1) ** 2 for t, m in zip(target, frame, strict=True)))
    close(criterion(features, targets), mean(losses))


@pytest.mark.parametrize("soft", [False, True])
def test_prototypes_equal_the_slow_loop(soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = HypersphericalPrototypes(WIDTH, CLASSES).to(features)
    losses = []
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        prototypes = rows(criterion.proxies())
        losses.append(sum(t * (1 - cosine(x, p)) ** 2 for t, p in zip(target, prototypes, strict=True)))
    close(criterion(features, targets), mean(losses))
    summed = HypersphericalPrototypes(WIDTH, CLASSES, reduction="sum").to(features)
    summed.load_state_dict(criterion.state_dict())
    close(summed(features, targets), mean(losses) * BATCH)


@pytest.mark.parametrize("soft", [False, True])
def test_maximum_separation_equals_the_slow_loop(soft, device):
    """With the weights turned into the paper's frame, so that its own matrix applies."""
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    criterion = MaximumClassSeparation(WIDTH, CLASSES, scale=0.7).to(features)
    matrix = torch.tensor(paper_matrix(CLASSES - 1), dtype=torch.float64)  # (C − 1, C)
    vertices = separate(torch.eye(CLASSES - 1, dtype=torch.float64)).T  # (C, C − 1)
    turn = matrix @ vertices * (CLASSES - 1) / CLASSES  # orthogonal, takes their vertices to ours
    weight, bias = rows(turn @ criterion.weight.cpu()), rows((turn @ criterion.bias.cpu())[None])[0]
    losses = []
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        z = [dot(w, x) + b for w, b in zip(weight, bias, strict=True)]
        logits = [0.7 * dot(z, column) for column in rows(matrix.T)]
        losses.append(softmax_loss(logits, target))
    close(criterion(features, targets), mean(losses))


def test_proxies_of_maximum_separation_raise_their_logit(device):
    """logits = scale · (proxies · x + a constant per class)."""
    features, _, _ = batch(device)
    criterion = MaximumClassSeparation(WIDTH, CLASSES).to(features)
    at_zero = criterion.logits(torch.zeros_like(features))
    torch.testing.assert_close(criterion.logits(features) - at_zero, 0.1 * features @ criterion.proxies().T)


def test_losses_are_zero_at_the_prototypes(device):
    for kind in (ETFDotRegression, HypersphericalPrototypes):
        criterion = kind(WIDTH, CLASSES).double().to(device)
        labels = torch.arange(CLASSES, device=device)
        close(criterion(5 * criterion.proxies(), labels), 0.0)
        other = 0.5 if kind is ETFDotRegression else 1.0
        expected = other * (1 + 1 / (CLASSES - 1)) ** 2
        assert criterion(criterion.proxies(), labels.roll(1)).item() == pytest.approx(expected, rel=1e-6)


def test_too_many_classes_for_a_simplex():
    ETFDotRegression(4, 5)
    with pytest.raises(ValueError, match=r"num_classes: expected at most in_features \+ 1 = 5.*found 6"):
        ETFDotRegression(4, 6)


def test_refuses_impossible_arguments():
    with pytest.raises(ValueError, match="reduction: expected 'mean' or 'sum', found 'max'"):
        HypersphericalPrototypes(WIDTH, CLASSES, reduction="max")
    with pytest.raises(ValueError, match="scale: expected a positive finite number, found 0"):
        MaximumClassSeparation(WIDTH, CLASSES, scale=0.0)
