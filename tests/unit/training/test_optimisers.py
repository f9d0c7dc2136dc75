from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hugbench.training.optimisers import optimiser
from tests.unit.training.standin import recipe, tiny


def decays(classifier: nn.Module, **fields) -> dict[str, float]:
    """The weight decay of every parameter, by name."""
    made = optimiser(classifier, recipe(weight_decay=0.01, **fields))
    names = {id(parameter): name for name, parameter in classifier.named_parameters()}
    return {
        names[id(parameter)]: group["weight_decay"]
        for group in made.param_groups
        for parameter in group["params"]
    }


def test_decay_spares_what_the_classifier_names_and_nothing_else() -> None:
    found = decays(tiny())
    assert found.keys() == dict(tiny().named_parameters()).keys()
    assert {name for name, decay in found.items() if decay == 0} == {"criterion.linear.weight"}
    assert set(found.values()) == {0.0, 0.01}


def test_decay_can_spare_norm_layers_and_biases() -> None:
    found = decays(tiny(), decay_norm_and_bias=False)
    assert {name for name, decay in found.items() if decay} == {"backbone.0.weight", "backbone.6.weight"}


def test_frozen_parameters_are_left_out() -> None:
    classifier = tiny()
    classifier.backbone[0].weight.requires_grad_(False)
    assert "backbone.0.weight" not in decays(classifier)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_nesterov_only_if_the_recipe_says_so(nesterov: bool) -> None:
    group = optimiser(tiny(), recipe(nesterov=nesterov, momentum=0.8)).param_groups[0]
    assert (group["nesterov"], group["momentum"]) == (nesterov, 0.8)


@pytest.mark.parametrize("name", ["adamw", "adam", "lamb", "lion"])
def test_betas_reach_the_optimiser(name: str) -> None:
    default = optimiser(tiny(), recipe(optimizer=name)).param_groups[0]["betas"]
    group = optimiser(tiny(), recipe(optimizer=name, betas=(0.7, 0.8))).param_groups[0]
    assert tuple(group["betas"]) == (0.7, 0.8)
    assert tuple(default) != (0.7, 0.8)


def walk(name: str, steps: int = 4, **fields) -> Tensor:
    """Where the optimiser arrives from (1, -2) on ½‖10 w‖²."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[1.0, -2.0]])
    made = optimiser(model, recipe(optimizer=name, lr=0.005, weight_decay=0.1, **fields))
    for _ in range(steps):
        made.zero_grad()
        (50 * model.weight.square().sum()).backward()
        made.step()
    return model.weight.detach()[0]


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_by_hand(nesterov: bool) -> None:
    expected = []
    for w in (1.0, -2.0):
        velocity = 0.0
        for _ in range(4):
            gradient = 100 * w + 0.1 * w
            velocity = 0.9 * velocity + gradient
            w -= 0.005 * (gradient + 0.9 * velocity if nesterov else velocity)
        expected.append(w)
    assert walk("sgd", nesterov=nesterov).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_by_hand(name: str) -> None:
    expected = []
    for w in (1.0, -2.0):
        first = second = 0.0
        for step in range(1, 5):
            gradient = 100 * w
            if name == "adamw":
                w -= 0.005 * 0.1 * w
            else:
                gradient += 0.1 * w
            first = 0.8 * first + 0.2 * gradient
            second = 0.95 * second + 0.05 * gradient**2
            w -= 0.005 * (first / (1 - 0.8**step)) / ((second / (1 - 0.95**step)) ** 0.5 + 1e-8)
        expected.append(w)
    assert walk(name, betas=(0.8, 0.95)).tolist() == pytest.approx(expected, rel=1e-5)


def test_lion_by_hand() -> None:
    expected = []
    for w in (1.0, -2.0):
        momentum = 0.0
        for _ in range(4):
            gradient = 100 * w
            w -= 0.005 * 0.1 * w
            direction = 0.9 * momentum + 0.1 * gradient
            w -= 0.005 * (1 if direction > 0 else -1)
            momentum = 0.99 * momentum + 0.01 * gradient
        expected.append(w)
    assert walk("lion", betas=(0.9, 0.99)).tolist() == pytest.approx(expected, rel=1e-5)


def test_lamb_by_hand_does_not_clip() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[1.0, -2.0]])
    made = optimiser(model, recipe(optimizer="lamb", lr=0.005, weight_decay=0.1))
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64)
    first = second = torch.zeros(2, dtype=torch.float64)
    # Gradients of norm 100 and of norm 0.1: clipped to 1 they would lead elsewhere.
    for step, size in enumerate((100.0, 0.1, 10.0, 1.0), start=1):
        gradient = size * torch.tensor([0.6, (-1) ** step * 0.8], dtype=torch.float64)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        update = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-6) + 0.1 * weight
        weight = weight - 0.005 * weight.norm() / update.norm() * update
        model.weight.grad = gradient.float()[None]
        made.step()
    torch.testing.assert_close(model.weight.detach()[0].double(), weight, rtol=1e-5, atol=1e-6)
