"""A small net for digits, what is planted in it, and figures made by sound and by naive attacks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from hugbench.criteria.softmax import CrossEntropy
from hugbench.evaluations.adversarial.attacks import Attack
from hugbench.evaluations.adversarial.victim import Victim, fooled
from hugbench.models import Classifier

WIDTH = 64


class Planted(nn.Module):
    """A classifier with something done to its images before, or to its logits after."""

    def __init__(
        self,
        classifier: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda images: images,
        after: Callable[[Tensor], Tensor] = lambda logits: logits,
    ) -> None:
        super().__init__()
        self.classifier, self.before, self.after = classifier, before, after

    @property
    def criterion(self) -> nn.Module:
        return self.classifier.criterion

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.classifier(self.before(images)))


def digits() -> tuple[Tensor, Tensor]:
    """All 1,797 digits at levels of 8 bits, (N, 1, 8, 8) in [0, 1], and their labels."""
    found = load_digits()
    pixels = torch.tensor(found.images / 16, dtype=torch.float32).unsqueeze(1)
    return (pixels * 255).round() / 255, torch.tensor(found.target)


def trained(seed: int = 0, criterion: type = CrossEntropy, epochs: int = 12) -> Classifier:
    """A small net, taught the first 1,200 digits; in evaluation mode."""
    images, targets = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, WIDTH, 3, 2, 1),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * WIDTH, WIDTH),
        )
        classifier = Classifier(backbone, criterion(WIDTH, 10), mean=(0.3,), std=(0.37,))
        optimiser = torch.optim.Adam(classifier.parameters(), 3e-3)
        for _ in range(epochs):
            for rows in torch.randperm(1200).split(100):
                optimiser.zero_grad()
                classifier.loss(images[rows], targets[rows]).backward()
                optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return classifier.eval()


def survivors(victim: Victim, images: Tensor, targets: Tensor, eps: float, *attacks: Attack) -> Tensor:
    """Which images are right and stay right under all of the attacks, bool (B,)."""
    with torch.no_grad():
        robust = ~fooled(victim(images), targets)
        for attack in attacks:
            found = attack(victim, images[robust], targets[robust], eps, seed=0)
            robust[robust.clone()] = ~fooled(victim(found), targets[robust])
    return robust


def soundly(norm: str) -> list[Attack]:
    """Enough for a small net."""
    return [
        Attack("upgd_margin", norm, {"steps": 20}),
        Attack("apgd_ce", norm, {"steps": 20}, scale=1.0),
        Attack("apgd_t", norm, {"steps": 20}),
    ]


def naively() -> Attack:
    """Cross-entropy at scale 1 and nothing else."""
    return Attack("pgd", "Linf", {"steps": 10, "random_start": False})
