"""Every criterion trains a small network on real images: scikit-learn's digits, some ten seconds in all.

`pytest -rP` shows the accuracies.
"""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from hugbench.criteria.angular import ArcFace, CosFace, NormFace
from hugbench.criteria.contrast import NONL, NTCE, SupCon
from hugbench.criteria.frames import ETFDotRegression, HypersphericalPrototypes, MaximumClassSeparation
from hugbench.criteria.harmonic import Harmonic
from hugbench.criteria.long_tail import (
    LDAM,
    BalancedSoftmax,
    ClassBalanced,
    Focal,
    LogitAdjustment,
    PostHocLogitAdjustment,
)
from hugbench.criteria.regression import SigmoidBCE, SquaredError
from hugbench.criteria.regularised import CrossEntropyMHE, LogitNorm

KINDS = [
    NormFace,
    CosFace,
    ArcFace,
    ETFDotRegression,
    MaximumClassSeparation,
    HypersphericalPrototypes,
    NTCE,
    NONL,
    SupCon,
    SquaredError,
    SigmoidBCE,
    CrossEntropyMHE,
    LogitNorm,
    Harmonic,
    Focal,
    ClassBalanced,
    BalancedSoftmax,
    LogitAdjustment,
    PostHocLogitAdjustment,
    LDAM,
]
EPOCHS, TRAIN = 20, 1437


@pytest.fixture(scope="module")
def digits(device):
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(images, dtype=torch.float32)[order] / 16
    return images.to(device), torch.tensor(labels)[order].to(device)


@pytest.mark.parametrize("kind", KINDS)
def test_learns_digits(kind, digits, device):
    images, labels = digits
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32)).to(device)
    criterion = kind(32, 10).to(device)
    criterion.start_training(torch.bincount(labels[:TRAIN], minlength=10))
    optimizer = torch.optim.Adam([*network.parameters(), *criterion.parameters()], lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(EPOCHS):
        criterion.start_epoch(epoch, EPOCHS)
        for chosen in torch.randperm(TRAIN, generator=generator).to(device).split(128):
            optimizer.zero_grad()
            criterion(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    criterion.eval()
    with torch.no_grad():
        predicted = criterion.logits(network(images[TRAIN:])).argmax(1)
    accuracy = (predicted == labels[TRAIN:]).float().mean().item()
    print(f"{kind.__name__}: {accuracy:.3f}")
    assert accuracy > 0.9
