"""A small conv net with a frozen batch normalisation in training mode, and a linear classifier."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hugbench.criteria.softmax import CrossEntropy
from hugbench.evaluations.adversarial.victim import Victim
from hugbench.models import Classifier

SHAPE = (3, 10, 10)


class Shifted(CrossEntropy):
    """Cross-entropy whose logits are lower by a constant."""

    by = 0.0

    def logits(self, features):
        return super().logits(features) - self.by


def conv_net(classes: int = 10, seed: int = 0) -> Classifier:
    """Strided convolutions on 10 x 10 pixels; its middle normalisation trains while all else evaluates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
        made = Classifier(backbone, Shifted(72, classes), mean=(0.5,) * 3, std=(0.25,) * 3)
        with torch.no_grad():
            for parameter in made.criterion.parameters():
                parameter.mul_(3)
    made.eval()
    made.backbone[1].train()
    made.backbone[1].requires_grad_(False)
    return made


def linear(weight: torch.Tensor, bias: torch.Tensor, shape: tuple[int, int, int]) -> Classifier:
    """Logits weight @ pixels + bias."""
    classes, width = weight.shape
    criterion = CrossEntropy(width, classes)
    with torch.no_grad():
        for name, parameter in criterion.named_parameters():
            parameter.copy_(bias if name.endswith("bias") else weight)
    channels = shape[0]
    return Classifier(nn.Flatten(), criterion, mean=(0.0,) * channels, std=(1.0,) * channels).eval()


def pixels(n: int = 12, seed: int = 1, shape=SHAPE) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def predicted(victim: Victim, images: torch.Tensor) -> torch.Tensor:
    """What the victim takes the images for, in evaluation mode."""
    from hugbench.models import evaluating

    with evaluating(victim), torch.no_grad():
        return victim(images).argmax(dim=1)


@pytest.fixture
def classifier(device) -> Classifier:
    return conv_net().to(device)


@pytest.fixture
def images(device) -> torch.Tensor:
    return pixels().to(device)
