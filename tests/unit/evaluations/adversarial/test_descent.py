"""Gradient steps: equal to torchattacks' at equal settings, and right where those are not."""

from __future__ import annotations

import pytest
import torch
import torchattacks
from torch import nn

from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.descent import Descent, direction
from hugbench.evaluations.adversarial.losses import cross_entropy, dlr, margin
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.conftest import conv_net, pixels, predicted

EPS, STEP, STEPS = 4 / 255, 1 / 255, 7
L2, L2_STEP = 0.2, 0.05

PAIRS = {
    "fgsm": (
        lambda m: torchattacks.FGSM(m, eps=EPS),
        Descent(cross_entropy, "Linf", EPS, steps=1, length=EPS),
    ),
    "pgd": (
        lambda m: torchattacks.PGD(m, eps=EPS, alpha=STEP, steps=STEPS, random_start=True),
        Descent(cross_entropy, "Linf", EPS, STEPS, STEP, random_start=True),
    ),
    "pgd L2": (
        lambda m: torchattacks.PGDL2(m, eps=L2, alpha=L2_STEP, steps=STEPS, random_start=True),
        Descent(cross_entropy, "L2", L2, STEPS, L2_STEP, random_start=True),
    ),
    "mifgsm": (
        lambda m: torchattacks.MIFGSM(m, eps=EPS, alpha=STEP, steps=STEPS, decay=0.7),
        Descent(cross_entropy, "Linf", EPS, STEPS, STEP, decay=0.7),
    ),
    "nifgsm": (
        lambda m: torchattacks.NIFGSM(m, eps=EPS, alpha=STEP, steps=STEPS, decay=0.7),
        Descent(cross_entropy, "Linf", EPS, STEPS, STEP, decay=0.7, nesterov=True),
    ),
    "upgd margin": (
        lambda m: torchattacks.UPGD(m, eps=EPS, alpha=STEP, steps=STEPS, loss="margin", decay=0.7),
        Descent(margin, "Linf", EPS, STEPS, STEP, decay=0.7),
    ),
    "upgd dlr": (
        lambda m: torchattacks.UPGD(m, eps=EPS, alpha=STEP, steps=STEPS, loss="dlr", decay=0.7),
        Descent(dlr, "Linf", EPS, STEPS, STEP, decay=0.7),
    ),
}


@pytest.fixture
def victim(device):
    made = conv_net()
    made.criterion.by = -50.0  # all logits above 0, as torchattacks' margin needs them
    return Victim(made.to(device)).eval()


@pytest.mark.parametrize("name", PAIRS)
def test_walks_as_torchattacks(name, victim, device):
    """Images that are never misclassified end at the same place; those that theirs ends on, ours finds."""
    theirs, ours = PAIRS[name]
    images = pixels(60, shape=(3, 10, 10)).to(device)
    targets = predicted(victim, images)
    if name.endswith("L2"):
        torch.manual_seed(0)
        start = ours._start(images)
        assert (start - images).flatten(1).norm(dim=1).max() <= L2
    torch.manual_seed(0)
    expected = theirs(victim)(images, targets)
    torch.manual_seed(0)
    found = ours(victim, images, targets)
    hit, theirs_hit = predicted(victim, found) != targets, predicted(victim, expected) != targets
    assert 5 < hit.sum() < 55
    assert not (theirs_hit & ~hit).any()
    stayed = ~hit
    torch.testing.assert_close(found[stayed], expected[stayed], rtol=0, atol=2e-6)


class Hole(nn.Module):
    """Two classes; misclassified only in a narrow band that the path crosses: 0.51 < mean < 0.53."""

    def forward(self, images):
        mean = images.flatten(1).mean(dim=1)
        gap = (mean - 0.52).abs() - 0.01
        return torch.stack([gap + 0 * mean, -mean * 1e-3], dim=1)


def test_keeps_what_is_misclassified_on_the_way(device):
    images = torch.full((2, 1, 2, 2), 0.5, device=device)
    images[1] = 0.9
    targets = torch.zeros(2, dtype=torch.int64, device=device)
    walk = Descent(margin, "Linf", eps=0.1, steps=10, length=0.02)
    found = walk(Hole(), images, targets)
    assert 0.51 < found[0].mean() < 0.53
    assert Hole()(found)[0].argmax() == 1


def test_one_step_of_l2_has_its_length(device):
    gradient = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(device)
    gradient[3] = 0
    lengths = direction(gradient * 1e-30, "L2").flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths.cpu(), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert set(direction(gradient, "Linf").flatten().tolist()) == {-1.0, 0.0, 1.0}


def test_misclassified_images_leave_the_batch(victim, device):
    sizes = []
    victim.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    images = pixels(40).to(device)
    targets = predicted(victim, images)
    sizes.clear()
    Descent(margin, "Linf", 8 / 255, steps=20, length=1 / 255)(victim, images, targets)
    assert sizes[0] == 40
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 40
    sizes.clear()
    Descent(margin, "Linf", 1.0, steps=50, length=0.1)(victim, images, targets)
    assert len(sizes) < 50


class Noisy(nn.Module):
    """A victim whose gradient drowns in noise."""

    def __init__(self, victim) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, images):
        logits = self.victim(images)
        noise = torch.randn(len(images), images[0].numel(), device=images.device)
        drowned = (noise * images.flatten(1)).sum(dim=1, keepdim=True) * 0.5
        return logits + drowned * torch.linspace(-1, 1, logits.shape[1], device=images.device)


def test_averaging_gradients_helps_against_noise(victim, device):
    images = pixels(40).to(device)
    targets = predicted(victim, images)
    noisy, falls = Noisy(victim), []
    with torch.no_grad():
        before = -margin(victim(images), targets)
    for eot in (1, 30):
        torch.manual_seed(0)
        found = Descent(cross_entropy, "Linf", 4 / 255, steps=1, length=4 / 255, eot=eot)(
            noisy, images, targets
        )
        with torch.no_grad():
            falls.append(float((before + margin(victim(found), targets)).mean()))
    assert falls[1] > falls[0]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_default_step_reaches_the_edge(norm, victim, device):
    images = (0.3 + 0.4 * pixels(8)).to(device)
    targets = predicted(victim, images)
    eps = 0.2 / 255 if norm == "Linf" else 0.002
    found = Attack("upgd_margin", norm)(victim, images, targets, eps, seed=0)
    delta = (found - images).flatten(1)
    reached = delta.abs().amax(1) if norm == "Linf" else delta.norm(dim=1)
    torch.testing.assert_close(reached.cpu(), torch.full((8,), eps), rtol=2e-2, atol=0)
