"""Checks that need no gradient of the victim: what they break, gradients should have broken."""

from __future__ import annotations

import torch
from torch import Tensor

from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.catalogue import refusal
from hugbench.evaluations.adversarial.evidence import Check, Figure, judged
from hugbench.evaluations.adversarial.gradients import STEPS, among
from hugbench.evaluations.adversarial.losses import margin
from hugbench.evaluations.adversarial.probe import Way, climb, direction, misled, project
from hugbench.evaluations.adversarial.victim import Victim
from hugbench.seeding import generator

QUERIES = 100
"""Of Square: most of what it breaks with thousands, it breaks with the first hundreds, and where gradients
are sound it breaks nothing that they left."""

DRAWS = 20
"""Random corners of the ball for every survivor."""


def square(figure: Figure, left: Tensor) -> tuple[Check, Tensor]:
    """Survivors of the gradient attacks that Square, a random search, breaks.

    Args:
        figure: what is examined.
        left: bool (B,), the hardest images that the gradient attacks have left.
    """
    victim, images = figure.victim, figure.images
    channels, height, width = images.shape[1:]
    if reason := refusal("square", figure.norm, victim.num_classes, (channels, height, width)):
        return Check("square", "SKIP", None, None, reason), torch.zeros_like(left)
    attack = Attack("square", figure.norm, {"queries": QUERIES})
    targets = figure.targets[left]
    found = attack(victim, images[left], targets, figure.eps, seed=figure.seed)
    broken = among(left, misled(victim, found, targets))
    told = f"left by gradients, fooled by {QUERIES} queries"
    return judged("square", int(broken.sum()), len(images), told), broken


def transfer(figure: Figure, left: Tensor, reference: Victim | None) -> tuple[Check, Tensor]:
    """Survivors of the gradient attacks that fall to images made for the paired baseline.

    Args:
        figure: what is examined.
        left: bool (B,), the hardest images that the gradient attacks have left.
        reference: the baseline, with the same classes in play.
    """
    if reference is None:
        told = "no paired baseline to make images on"
        return Check("transfer", "SKIP", None, None, told), torch.zeros_like(left)
    ways = [Way(margin, figure.eps)]
    images, targets = figure.images[left], figure.targets[left]
    found = climb(reference, images, targets, ways, figure.norm, steps=STEPS).images[0]
    broken = among(left, misled(figure.victim, found, targets))
    told = "left by gradients, fooled by the baseline's images"
    return judged("transfer", int(broken.sum()), len(figure.images), told), broken


def random_signs(figure: Figure, left: Tensor) -> tuple[Check, Tensor]:
    """Survivors of the gradient attacks that fall to corners of the ball drawn at random.

    In L2 the corners are random directions, as far as the ball reaches.

    Args:
        figure: what is examined.
        left: bool (B,), the hardest images that the gradient attacks have left.
    """
    images, targets = figure.images[left], figure.targets[left]
    draw = generator(figure.seed, "card", "signs")
    hit = torch.zeros_like(targets, dtype=torch.bool)
    for _ in range(DRAWS):
        noise = torch.randn(images.shape, generator=draw).to(images.device)
        moved = images + figure.eps * direction(noise, figure.norm)
        hit |= misled(figure.victim, project(moved, images, figure.eps, figure.norm), targets)
    broken = among(left, hit)
    told = f"left by gradients, fooled by one of {DRAWS} random corners"
    return judged("random_signs", int(broken.sum()), len(figure.images), told), broken
