"""What one fixed model makes of digits that are corrupted here and by the reference's formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from hugbench.evaluations.corruption.constants import strength
from hugbench.evaluations.corruption.kinds import EXTRA, KINDS, corrupt

from .test_noise import KINDS as NOISES
from .test_noise import slow
from .test_spatter import slow_elastic, slow_spatter


@pytest.fixture(scope="module")
def digits():
    """Images uint8 (797, 1, 8, 8) with labels, and a classifier of the other 1,000."""
    images, labels = load_digits(return_X_y=True)
    images = np.uint8(images * 255 / 16)
    model = LogisticRegression(C=0.05, max_iter=300).fit(images[:1000] / 255, labels[:1000])
    return torch.from_numpy(images[1000:]).view(-1, 1, 8, 8), labels[1000:], model


def accuracy(model, images, labels) -> float:
    return float((model.predict(np.asarray(images).reshape(len(labels), -1) / 255) == labels).mean())


def by_the_reference(images, kind, severity):
    generator = np.random.default_rng(severity)
    row = strength(kind, severity, 8, 8)
    if kind in NOISES:
        changed = np.empty_like(images)
        for level in np.unique(images):
            there = images == level
            changed[there] = slow(kind, level, row[0], there.sum(), generator)
        return changed
    if kind == "elastic_transform":
        return np.stack(
            [
                slow_elastic(
                    image[0, ..., None], generator.random((3, 2)), *generator.random((2, 8, 8)), *row
                )
                for image in images
            ]
        )
    grey = np.array([0.299, 0.587, 0.114])
    coloured = [
        slow_spatter(image.repeat(3, 0).transpose(1, 2, 0), generator.normal(size=(8, 8)), *row)
        for image in images
    ]
    return np.rint(np.stack(coloured) @ grey)


@pytest.mark.parametrize("kind", [*NOISES, "elastic_transform", "spatter"])
@pytest.mark.parametrize("severity", [3, 5])
def test_accuracy_is_within_its_interval(kind, severity, digits, device) -> None:
    images, labels, model = digits
    if kind == "spatter":
        images, labels = images[:300], labels[:300]
    expected = accuracy(model, by_the_reference(images.numpy(), kind, severity), labels)
    found = [
        accuracy(
            model,
            corrupt(images.to(device), kind, severity, seed=seed, indices=torch.arange(len(images))).cpu(),
            labels,
        )
        for seed in range(4)
    ]
    error = (expected * (1 - expected) / len(labels) * 1.25) ** 0.5
    assert abs(np.mean(found) - expected) < 3.5 * error + 1e-9


@pytest.mark.parametrize("kind", KINDS + EXTRA)
def test_digits_are_changed_and_stay_legible(kind, digits, device) -> None:
    images, labels, model = digits
    mild, strong = (
        corrupt(images.to(device), kind, severity, seed=0, indices=torch.arange(len(images))).cpu()
        for severity in (1, 5)
    )
    assert (strong != images).float().mean() > 0.02
    clean = accuracy(model, images, labels)
    assert 0.3 < accuracy(model, strong, labels) < accuracy(model, mild, labels) + 0.01 < clean + 0.02
