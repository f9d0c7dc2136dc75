"""The scale at which a cross-entropy attack sees the boundary."""

from __future__ import annotations

import pytest
import torch

from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.scales import scales
from hugbench.evaluations.adversarial.victim import Victim
from tests.unit.evaluations.adversarial.conftest import conv_net, linear, pixels, predicted


def two_logits(gaps, device):
    """A victim of two logits 0 and -x, x being an image's single pixel, with images of these gaps."""
    victim = Victim(linear(torch.tensor([[1.0], [0.0]]), torch.zeros(2), (1, 1, 1)).to(device))
    return victim, torch.tensor(gaps, device=device).view(-1, 1, 1, 1)


def test_brings_the_median_gap_near_ten(device):
    victim, images = two_logits([0.01, 0.5, 0.9], device)
    targets = torch.zeros(3, dtype=torch.int64, device=device)
    assert scales(victim, images, targets) == (1.0, 16.0)  # 0.5 * 16 = 8; the powers of two around 20
    assert scales(victim.scaled(1024.0), images, targets) == (1 / 64, 1.0)
    assert scales(victim.scaled(16.0), images, targets) == (1.0,)
    assert scales(victim, images, targets, batch_size=2) == (1.0, 16.0)


def test_the_median_is_over_images_that_are_classified_correctly(device):
    victim, images = two_logits([0.02, 0.02, 0.02, 0.5], device)
    right = torch.tensor([1, 1, 1, 0], device=device)
    assert scales(victim, images, right) == (1.0, 16.0)
    assert scales(victim, images, torch.ones(4, dtype=torch.int64, device=device)) == (1.0, 512.0)


def test_a_victim_without_a_gap_has_no_scale(device):
    victim, images = two_logits([0.0, 0.0, 0.0], device)
    assert scales(victim, images, torch.zeros(3, dtype=torch.int64, device=device)) == (1.0,)


@pytest.mark.parametrize("factor", [1 / 1024, 1 / 32, 1.0, 32.0, 1024.0])
def test_the_rule_undoes_any_scale(factor, device):
    """Flat or saturated, the attack at the second scale finds what it finds at the best of all."""
    victim = Victim(conv_net().to(device)).eval().scaled(factor)
    images = pixels(60).to(device)
    targets = predicted(victim, images)
    found = {}
    for scale in {*scales(victim, images, targets), *(4.0**k / factor for k in range(-3, 6))}:
        attack = Attack("pgd", "Linf", {"random_start": False, "steps": 20}, scale=scale)
        hit = predicted(victim, attack(victim, images, targets, 3 / 255, seed=0)) != targets
        found[scale] = int(hit.sum())
    ours = max(found[scale] for scale in scales(victim, images, targets))
    assert ours >= max(found.values()) - 1
    assert min(found.values()) < ours - 3


def test_leaves_the_classifier_as_it_was(device):
    classifier = conv_net().to(device)
    modes = [part.training for part in classifier.modules()]
    images = pixels(6).to(device)
    before = torch.get_rng_state()
    scales(Victim(classifier), images, torch.zeros(6, dtype=torch.int64, device=device))
    assert [part.training for part in classifier.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)
