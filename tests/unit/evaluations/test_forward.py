"""The shared forward pass: right, and without a trace."""

from __future__ import annotations

import pytest
import torch

from hugbench.criteria.hug import HUG
from hugbench.evaluations.forward import collect, each_batch
from hugbench.models import build
from hugbench.suite.schema import ModelSpec
from tests.unit.evaluations.conftest import InMemory, dataset


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return InMemory(pixels, torch.randint(0, 4, (8,), generator=generator))


@pytest.fixture
def classifier(device):
    made = build(
        ModelSpec(backbone="test_resnet", embedding_dim=6, drop_rate=0.5, drop_path_rate=0.5),
        lambda width: HUG(width, 4),
        channels=3,
        image_size=(16, 16),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.4),
        seed=0,
    ).to(device)
    made.backbone.bn1.eval()
    made.backbone.bn1.requires_grad_(False)
    return made


def trace(classifier):
    """All that an evaluation must not change."""
    return {
        "state": {name: tensor.clone() for name, tensor in classifier.state_dict().items()},
        "modes": {name: part.training for name, part in classifier.named_modules()},
        "trained": {name: p.requires_grad for name, p in classifier.named_parameters()},
        "gradients": [p.grad for p in classifier.parameters()],
        "random": torch.get_rng_state(),
        "gradient mode": torch.is_grad_enabled(),
    }


def assert_same(found, expected):
    assert all(torch.equal(found["state"][name], value) for name, value in expected["state"].items())
    assert torch.equal(found["random"], expected["random"])
    for kept in ("modes", "trained", "gradients", "gradient mode"):
        assert found[kept] == expected[kept], kept


def test_equals_one_image_at_a_time(classifier, images, setting, device):
    outputs = collect(classifier, images, setting(dataset(images, images)))
    alone = classifier.eval()
    for i in range(len(images)):
        x = images.pixels[i : i + 1].to(device, torch.float32) / 255
        features = alone.features(x)
        torch.testing.assert_close(outputs.features[i], features[0].cpu())
        torch.testing.assert_close(outputs.logits[i], alone.criterion.logits(features)[0].cpu())
    assert torch.equal(outputs.targets, images.targets)
    assert outputs.indices.tolist() == list(range(8))
    assert {outputs.features.dtype, outputs.logits.dtype} == {torch.float32}
    assert {tensor.device.type for tensor in vars(outputs).values()} == {"cpu"}
    assert not outputs.logits.requires_grad


def test_leaves_the_classifier_as_it_was(classifier, images, setting):
    before = trace(classifier)
    collect(classifier, images, setting(dataset(images, images)))
    assert_same(trace(classifier), before)


def test_leaves_the_classifier_as_it_was_after_an_error(classifier, images, setting):
    before = trace(classifier)

    def fail(*_):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        each_batch(classifier, images, setting(dataset(images, images)), fail)
    assert_same(trace(classifier), before)


def test_refuses_an_empty_split(classifier, images, setting):
    empty = images.subset(torch.arange(0))
    with pytest.raises(ValueError, match="at least one"):
        collect(classifier, empty, setting(dataset(images, images)))
