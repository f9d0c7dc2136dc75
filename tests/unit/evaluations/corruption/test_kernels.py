"""What holds for every kernel: shapes, batches, memory formats, images left alone."""

from __future__ import annotations

import pytest
import torch

from hugbench.evaluations.corruption.kinds import EXTRA, KINDS, corrupt

from .pictures import SEVERITIES, pictures

NAMES = KINDS + EXTRA


def corrupted(images, kind, severity=3, indices=None):
    indices = torch.arange(len(images)) if indices is None else indices
    return corrupt(images, kind, severity, seed=3, indices=indices)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 2, 2), (1, 1, 1), (3, 9, 40)])
def test_any_shape(kind, severity, shape, device):
    images = pictures(*shape).to(device)
    before = images.clone()
    found = corrupted(images, kind, severity)
    assert found.shape == images.shape
    assert (found.dtype, found.device) == (torch.uint8, images.device)
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", NAMES)
def test_an_image_does_not_see_its_batch(kind, device):
    images = pictures(3, 32, 32).to(device).repeat(12, 1, 1, 1)
    whole = corrupted(images, kind)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    shuffled = corrupted(images[order.to(device)], kind, indices=order)
    assert torch.equal(shuffled, whole[order.to(device)])
    for number in (0, 1, 2, 3, 4, 5, 71):
        alone = corrupted(images[number : number + 1], kind, indices=torch.tensor([number]))
        assert torch.equal(alone, whole[number : number + 1])


@pytest.mark.parametrize("kind", NAMES)
def test_any_memory_format(kind, device):
    images = pictures(3, 12, 20).to(device)
    expected = corrupted(images, kind)
    assert torch.equal(corrupted(images.to(memory_format=torch.channels_last), kind), expected)
    assert torch.equal(corrupted(images.mT.contiguous().mT, kind), expected)


@pytest.mark.parametrize("kind", NAMES)
def test_no_images(kind, device):
    images = torch.empty(0, 3, 32, 32, dtype=torch.uint8, device=device)
    assert corrupted(images, kind).shape == images.shape


@pytest.mark.parametrize("kind", ["motion_blur", "zoom_blur", "snow", "fog"])
def test_severities_move_the_image_further(kind, device):
    """On a noisy picture. Glass and frost are left out: their constants do not all grow with the severity."""
    images = pictures(3, 32, 32)[5:].to(device).repeat(32, 1, 1, 1)
    moved = [
        (corrupted(images, kind, severity).float() - images).square().mean().item() for severity in SEVERITIES
    ]
    assert moved == sorted(moved)
    assert moved[0] > 0
