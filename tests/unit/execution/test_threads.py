from __future__ import annotations

import torch

from hugbench.criteria.softmax import CrossEntropy
from hugbench.execution import threads
from hugbench.models import Classifier, build
from hugbench.suite.schema import ModelSpec


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


def test_small_steps_get_one_thread_and_large_ones_up_to_four(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores, large in ((2, 2), (7, 4)):
        monkeypatch.setattr(threads, "_ALL", cores)
        assert threads.threads_for(classifier("test_resnet", 1, 8), (1, 8, 8), 64) == 1
        assert threads.threads_for(classifier("resnet18", 3, 32), (3, 32, 32), 64) == large


def test_the_environment_decides_where_it_speaks(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "_ALL", 3)  # what torch made of it when it was imported
    assert threads.threads_for(classifier("test_resnet", 1, 8), (1, 8, 8), 64) == 3


def test_the_classifier_is_left_as_it_was(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    model = classifier("test_resnet", 1, 8).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    threads.threads_for(model, (1, 8, 8), 64)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
