"""What an attack sees of a classifier."""

from __future__ import annotations

import torch

from hugbench.evaluations.adversarial.victim import Victim, fooled, margins
from tests.unit.evaluations.adversarial.conftest import conv_net, pixels


def test_classes_that_are_not_in_play_are_cut_out(device):
    classifier, images = conv_net().eval().to(device), pixels(5).to(device)
    classes = torch.tensor([1, 4, 8], device=device)
    victim = Victim(classifier, classes, scale=3.0)
    torch.testing.assert_close(victim(images), 3 * classifier(images)[:, [1, 4, 8]])
    assert victim.num_classes == 3
    assert Victim(classifier).num_classes == 10
    assert victim.place(torch.tensor([8, 1, 4, 4], device=device)).tolist() == [2, 0, 1, 1]
    assert Victim(classifier).place(torch.tensor([8, 1])).tolist() == [8, 1]


def test_scaled_is_the_same_victim_at_another_scale(device):
    classifier, images = conv_net().eval().to(device), pixels(5).to(device)
    victim = Victim(classifier, torch.tensor([0, 5], device=device))
    scaled = victim.scaled(16.0)
    assert scaled.classifier is classifier
    assert torch.equal(scaled(images), 16 * victim(images))


def test_logits_are_float32_whatever_the_classifier_computes_in(device):
    classifier = conv_net().eval().to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert Victim(classifier)(pixels(2).to(device)).dtype == torch.float32


def test_margins_and_fooled_on_ties():
    """Accuracy counts the first of equal logits: a tie is a margin of 0, and fools or not by the order."""
    logits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    targets = torch.tensor([0, 1, 1])
    assert margins(logits, targets).tolist() == [0.0, 0.0, 1.0]
    assert fooled(logits, targets).tolist() == [False, True, False]
