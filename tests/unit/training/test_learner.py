from __future__ import annotations

import copy

import pytest
import torch

from hugbench.training.learner import Learner
from tests.unit.training.standin import images, recipe, same, tiny, weights


def batch(device: torch.device):
    data = images(32)
    return data.images.float().div(255).to(device), data.targets.to(device)


def step(learner: Learner, number: int, device: torch.device, rate: float = 0.1):
    inputs, targets = batch(device)
    classifier = learner.classifier
    return learner.update(classifier.loss_of(classifier.features(inputs), targets), rate, number)


def test_the_moving_average_is_the_slow_loop(device: torch.device) -> None:
    classifier = tiny().to(device)
    learner = Learner(classifier, recipe(ema=0.6), device)
    average = None
    for number in range(8):
        step(learner, number, device)
        now = weights(classifier)
        decay = min(0.6, 1 - (1 + number) ** (-2 / 3))
        if average is None:
            average = now
        for name, value in now.items():
            mixed = decay * average[name] + (1 - decay) * value
            average[name] = mixed if value.is_floating_point() else value
    assert weights(classifier)["backbone.1.num_batches_tracked"] == 8
    learner.finish()
    torch.testing.assert_close(weights(classifier), average)
    assert all(parameter.grad is None for parameter in classifier.parameters())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_gradient_is_clipped_and_its_norm_before_is_returned(
    precision: str, device: torch.device
) -> None:
    free, clipped = tiny().to(device), tiny().to(device)
    inputs, targets = batch(device)
    free.loss_of(free.features(inputs), targets).backward()
    whole = sum(float(p.grad.square().sum()) for p in free.parameters()) ** 0.5
    before = weights(clipped)
    norm = step(
        Learner(clipped, recipe(clip_grad=0.01, momentum=0.0, precision=precision), device),
        0,
        device,
        rate=1.0,
    )
    assert norm.item() == pytest.approx(whole, rel=1e-4)
    after, names = weights(clipped), [name for name, _ in clipped.named_parameters()]
    moved = sum(float((after[name] - before[name]).square().sum()) for name in names) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3)
    assert whole > 0.02


def test_the_rate_of_the_step_is_the_one_that_counts(device: torch.device) -> None:
    still, moving = tiny().to(device), tiny().to(device)
    step(Learner(still, recipe(), device), 0, device, rate=0.0)
    step(Learner(moving, recipe(), device), 0, device, rate=0.1)
    start = weights(tiny())
    assert torch.equal(weights(still)["backbone.6.weight"], start["backbone.6.weight"])
    assert not torch.equal(weights(moving)["backbone.6.weight"], start["backbone.6.weight"])


def test_fp16_skips_a_step_whose_gradient_overflows_and_goes_on(device: torch.device) -> None:
    classifier = tiny().to(device)
    learner = Learner(classifier, recipe(precision="fp16"), device)
    step(learner, 0, device)
    before, scale = weights(classifier)["criterion.linear.weight"], learner.scaler.get_scale()
    features = classifier.features(batch(device)[0])
    learner.update(features.sum() * 1e38, 0.1, 1)
    assert torch.equal(weights(classifier)["criterion.linear.weight"], before)
    assert learner.scaler.get_scale() == scale / 2
    step(learner, 2, device)
    assert not torch.equal(weights(classifier)["criterion.linear.weight"], before)


@pytest.mark.parametrize(
    "fields",
    [
        {"ema": 0.9},
        {"optimizer": "adamw", "lr": 0.01, "clip_grad": 1.0},
        {"optimizer": "lion", "lr": 0.001},
        {"optimizer": "lamb", "lr": 0.01},
        {"precision": "fp16"},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_a_restored_learner_goes_on_as_if_nothing_had_happened(fields, device: torch.device) -> None:
    first, second = tiny().to(device), tiny().to(device)
    learner = Learner(first, recipe(**fields), device)
    for number in range(3):
        step(learner, number, device)
    if fields.get("precision") == "fp16":
        learner.update(first.features(batch(device)[0]).sum() * 1e38, 0.1, 3)
    restored = Learner(second, recipe(**fields), device)
    restored.load_state_dict(copy.deepcopy(learner.state_dict()))
    for number in range(3, 6):
        step(learner, number, device)
        step(restored, number, device)
    assert restored.scaler.state_dict() == learner.scaler.state_dict()
    learner.finish()
    restored.finish()
    assert same(first, second)
