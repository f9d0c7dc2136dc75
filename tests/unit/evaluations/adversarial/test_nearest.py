"""Nearest misclassified images: on planes, against torchattacks, and where those fail."""

from __future__ import annotations

import torch
import torchattacks

from hugbench.evaluations.adversarial.nearest import CarliniWagner, DeepFool
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.conftest import conv_net, linear, pixels, predicted

WEIGHT = torch.randn(4, 48, generator=torch.Generator().manual_seed(2))


def plane_victim(device):
    return Victim(linear(WEIGHT, -0.5 * WEIGHT.sum(dim=1), (3, 4, 4)).to(device))


def ways(victim, images, targets):
    """The way to the nearest plane, by loops."""
    logits, found = victim(images).detach().cpu(), []
    for i, y in enumerate(targets.tolist()):
        found.append(
            min(
                float((logits[i, y] - logits[i, j]) / (WEIGHT[y] - WEIGHT[j]).norm())
                for j in range(4)
                if j != y
            )
        )
    return torch.tensor(found)


def test_deepfool_goes_to_the_nearest_plane(device):
    victim, images = plane_victim(device), (0.45 + 0.1 * pixels(20, shape=(3, 4, 4))).to(device)
    targets = predicted(victim, images)
    found = DeepFool(steps=3, overshoot=0.02, candidates=3)(victim, images, targets)
    assert (predicted(victim, found) != targets).all()
    went = (found - images).flatten(1).norm(dim=1).cpu()
    torch.testing.assert_close(went, 1.02 * ways(victim, images, targets), rtol=1e-4, atol=0)


def test_carlini_wagner_comes_near_the_nearest_plane(device):
    """Inside the radius it stops once it is there; beyond, it minimises to its end."""
    victim, images = plane_victim(device), (0.45 + 0.1 * pixels(20, shape=(3, 4, 4))).to(device)
    targets = predicted(victim, images)
    way = ways(victim, images, targets)
    eps = float(way.median())
    found = CarliniWagner(eps, steps=150, searches=6, constant=10.0, lr=0.1)(victim, images, targets)
    assert (predicted(victim, found) != targets).all()
    went = (found - images).flatten(1).norm(dim=1).cpu()
    assert (went > 0.999 * way).all()
    assert (went < torch.maximum(1.1 * way, torch.tensor(eps))).all()
    assert (went <= eps)[way < 0.9 * eps].all()


def test_deepfool_walks_as_torchattacks(device):
    victim = Victim(conv_net(6).to(device)).eval()
    images = (0.4 + 0.2 * pixels(10)).to(device)
    targets = predicted(victim, images)
    found = DeepFool(steps=8, overshoot=0.02, candidates=5)(victim, images, targets)
    expected = torchattacks.DeepFool(victim, steps=8, overshoot=0.02)(images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (predicted(victim, found) != targets).all()


def test_carlini_wagner_is_no_weaker_than_torchattacks(device):
    """Theirs with logits above 0 and pixels inside the box, as it needs them; ours from a shift by -20, too."""
    made = conv_net().to(device)
    victim, images = Victim(made).eval(), (0.1 + 0.8 * pixels(20)).to(device)
    targets = predicted(victim, images)
    made.criterion.by = -50.0
    theirs = torchattacks.CW(victim, c=1, steps=100, lr=0.01)(images, targets)
    made.criterion.by = 20.0
    ours = CarliniWagner(1e-3, steps=60, searches=6, constant=10.0, lr=20.0)(victim, images, targets)
    hit, theirs_hit = predicted(victim, ours) != targets, predicted(victim, theirs) != targets
    assert hit.sum() >= theirs_hit.sum() > 5
    both = hit & theirs_hit
    went, they_went = ((x - images)[both].flatten(1).norm(dim=1) for x in (ours, theirs))
    assert went.mean() < 1.05 * they_went.mean()


def test_images_of_black_and_white_move(device):
    victim, images = Victim(conv_net().to(device)).eval(), pixels(12).to(device).round()
    targets = predicted(victim, images)
    for attack in (
        CarliniWagner(1.0, steps=60, searches=4, constant=10.0, lr=0.1),
        DeepFool(steps=20, overshoot=0.02, candidates=9),
    ):
        found = attack(victim, images, targets)
        assert (predicted(victim, found) != targets).float().mean() > 0.7
        assert found.min() >= 0
        assert found.max() <= 1
