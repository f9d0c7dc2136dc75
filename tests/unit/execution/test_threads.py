from __future__ import annotations

import pytest
import torch

from hugbench.criteria.softmax import CrossEntropy
from hugbench.execution import threads
from hugbench.models import Classifier, build
from hugbench.suite.schema import ModelSpec


@pytest.fixture
def given() -> list[int]:
    """What torch is told, without telling it."""
    return []


def classifier(backbone: str, channels: int, size: int) -> Classifier:
    return build(
        ModelSpec(backbone=backbone, stem="cifar"),
        lambda width: CrossEntropy(width, 10),
        channels=channels,
        image_size=(size, size),
        mean=(0.5,) * channels,
        std=(0.2,) * channels,
        seed=0,
    )


def test_small_steps_get_one_thread_and_large_ones_all(monkeypatch, given) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_ALL", 7)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    threads.set_threads(classifier("test_resnet", 1, 8), (1, 8, 8), 64)
    threads.set_threads(classifier("resnet18", 3, 32), (3, 32, 32), 64)
    assert given == [1, 7]


def test_the_environment_decides_where_it_speaks(monkeypatch, given) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    threads.set_threads(classifier("test_resnet", 1, 8), (1, 8, 8), 64)
    assert given == []


def test_the_classifier_is_left_as_it_was(monkeypatch, given) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    model = classifier("test_resnet", 1, 8).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    threads.set_threads(model, (1, 8, 8), 64)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
