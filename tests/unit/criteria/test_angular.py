from __future__ import annotations

import math

import pytest
import torch

from hugbench.criteria.angular import ArcFace, CosFace, NormFace
from tests.properties import name_of, properties
from tests.unit.criteria.slow import (
    CLASSES,
    WIDTH,
    batch,
    close,
    cosine,
    mean,
    one_hot_rows,
    rows,
    softmax_loss,
)

KINDS = [NormFace, CosFace, ArcFace]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("holds", properties(), ids=name_of)
def test_properties(holds, kind, device):
    holds(kind, device)


def with_margin(kind, s, m, cosines, target):
    """The logits of one image with the margin on the classes of its target."""
    if kind is NormFace:
        return [s * c for c in cosines]
    if kind is CosFace:
        return [s * (c - m * t) for c, t in zip(cosines, target, strict=True)]
    angles = [math.acos(c) for c in cosines]
    return [
        s * (math.cos(a + m * t) if a + m * t <= math.pi else math.cos(a) - m * t * math.sin(m * t))
        for a, t in zip(angles, target, strict=True)
    ]


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (NormFace, {"scale": 3.0}),
        (CosFace, {"scale": 5.0, "margin": 0.35}),
        (ArcFace, {"scale": 5.0, "margin": 0.5}),
        (ArcFace, {"scale": 2.0, "margin": 2.5}),
    ],
)
@pytest.mark.parametrize("soft", [False, True])
def test_equals_the_slow_loop(kind, arguments, soft, device):
    features, labels, mixed = batch(device)
    targets = mixed if soft else labels
    torch.manual_seed(1)
    criterion = kind(WIDTH, CLASSES, **arguments).to(features)
    losses = []
    for x, target in zip(rows(features), one_hot_rows(targets), strict=True):
        cosines = [cosine(x, w) for w in rows(criterion.weight)]
        logits = with_margin(kind, arguments["scale"], arguments.get("margin", 0), cosines, target)
        losses.append(softmax_loss(logits, target))
    close(criterion(features, targets), mean(losses))
    expected = [[arguments["scale"] * cosine(x, w) for w in rows(criterion.weight)] for x in rows(features)]
    torch.testing.assert_close(criterion.logits(features).cpu(), torch.tensor(expected).double())


@pytest.mark.parametrize("kind", [CosFace, ArcFace])
def test_no_margin_is_normface(kind, device):
    features, labels, mixed = batch(device)
    torch.manual_seed(1)
    criterion = kind(WIDTH, CLASSES, scale=7.0, margin=0.0).to(features)
    plain = NormFace(WIDTH, CLASSES, scale=7.0).to(features)
    plain.load_state_dict(criterion.state_dict())
    for targets in (labels, mixed):
        torch.testing.assert_close(criterion(features, targets), plain(features, targets))


@pytest.mark.parametrize("kind", [CosFace, ArcFace])
def test_margin_raises_the_loss(kind, device):
    features, labels, _ = batch(device)
    torch.manual_seed(1)
    criteria = [kind(WIDTH, CLASSES, scale=7.0, margin=m).to(features) for m in (0.0, 0.2, 0.4)]
    for criterion in criteria:
        criterion.load_state_dict(criteria[0].state_dict())
    losses = [criterion(features, labels).item() for criterion in criteria]
    assert losses[0] < losses[1] < losses[2]


def test_normface_at_the_simplex_is_its_bound(device):
    """Two classes, features at their antipodal directions: log(1 + e^(−2s))."""
    criterion = NormFace(1, 2, scale=1.5).double().to(device)
    with torch.no_grad():
        criterion.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    features = torch.tensor([[3.0], [-0.1]], dtype=torch.float64, device=device)
    close(criterion(features, torch.tensor([0, 1], device=device)), math.log1p(math.exp(-3.0)))


def test_arcface_falls_with_the_cosine_beyond_pi(device):
    """The further a feature is from its class, the larger the loss, at all angles."""
    criterion = ArcFace(2, 2, scale=8.0, margin=1.0).double().to(device)
    with torch.no_grad():
        criterion.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    angles = torch.linspace(math.pi, 2 * math.pi, 40, dtype=torch.float64)[1:-1]  # away from class 1
    features = torch.stack([angles.cos(), angles.sin()], 1).to(device)
    label = torch.zeros(1, dtype=torch.int64, device=device)
    own = [criterion(x[None], label).item() for x in features if x[0] < 0]
    assert own == sorted(own, reverse=True)


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        (NormFace, {"scale": 0.0}, "scale"),
        (NormFace, {"scale": math.inf}, "scale"),
        (CosFace, {"margin": -0.1}, "margin"),
        (CosFace, {"margin": math.nan}, "margin"),
        (ArcFace, {"margin": 3.2}, "margin"),
        (ArcFace, {"scale": -1.0}, "scale"),
    ],
)
def test_refuses_impossible_arguments(kind, arguments, named):
    with pytest.raises(ValueError, match=rf"^{named}: expected .*, found"):
        kind(WIDTH, CLASSES, **arguments)
