"""A criterion among some of its classes is a smaller criterion with their part of the state."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hugbench import registry
from hugbench.criteria.hug import HUG
from hugbench.criteria.softmax import CrossEntropy
from hugbench.registry import load_target
from hugbench.suite.strategies import NOT_BY_CLASS

WIDTH, CLASSES, PRESENT = 6, 5, [0, 2, 4]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in registry.CRITERIA if name not in NOT_BY_CLASS),
    ("hug", {"start": "random"}),
    ("hug", {"proxies": "static"}),
    ("hug", {"proxies": "orthogonal"}),
    ("hug", {"uniformity": "mgd", "start": "random"}),
    ("hug", {"classes": "seen", "start": "random"}),
    ("cross_entropy", {"label_smoothing": 0.1}),
]


def example(name: str, arguments: dict[str, Any], device: torch.device) -> Any:
    torch.manual_seed(0)
    made = load_target(registry.CRITERIA[name])(WIDTH, CLASSES, **arguments).to(device).double()
    made.start_training(torch.tensor([9, 0, 5, 3, 7], device=device))
    features = torch.randn(12, WIDTH, dtype=torch.float64).to(device).requires_grad_()
    targets = torch.tensor(PRESENT)[torch.randint(3, (12,))].to(device)
    return made, features, targets


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_it_is_the_smaller_criterion(name: str, arguments: dict[str, Any], device: torch.device) -> None:
    made, features, targets = example(name, arguments, device)
    small = load_target(registry.CRITERIA[name])(WIDTH, len(PRESENT), **arguments).to(device).double()
    state = small.state_dict()
    for key, value in made.state_dict().items():
        state[key] = value[PRESENT] if state[key].shape != value.shape or key == "seen" else value
    small.load_state_dict(state)
    renamed = torch.tensor([PRESENT.index(label) for label in targets.tolist()], device=device)
    found = made.among(features, targets, torch.tensor(PRESENT, device=device))
    torch.testing.assert_close(found, small(features, renamed))
    assert made.num_classes == CLASSES


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_among_all_classes_it_is_the_criterion(
    name: str, arguments: dict[str, Any], device: torch.device
) -> None:
    made, features, targets = example(name, arguments, device)
    found = made.among(features, targets, torch.arange(CLASSES, device=device))
    torch.testing.assert_close(found, made(features, targets))


def test_other_classes_get_no_gradient(device: torch.device) -> None:
    for name, weight in (("cross_entropy", "weight"), ("hug", "head.weight"), ("normface", "weight")):
        made, features, targets = example(name, {}, device)
        made.among(features, targets, torch.tensor(PRESENT, device=device)).backward()
        moved = made.get_parameter(weight).grad.abs().sum(1) > 0
        assert moved.tolist() == [True, False, True, False, True]


def test_one_class_alone() -> None:
    made, features, targets = example("cross_entropy", {}, torch.device("cpu"))
    assert made.among(features, torch.full_like(targets, 2), torch.tensor([2])).item() == 0


@pytest.mark.parametrize("name", sorted(NOT_BY_CLASS))
def test_what_cannot_be_restricted_says_so(name: str) -> None:
    made, features, targets = example(name, {}, torch.device("cpu"))
    with pytest.raises(NotImplementedError, match="cannot be restricted"):
        made.among(features, targets, torch.tensor(PRESENT))


def test_a_failed_call_leaves_the_criterion_as_it_was() -> None:
    for made in (CrossEntropy(WIDTH, CLASSES), HUG(WIDTH, CLASSES)):
        with pytest.raises(ValueError, match="features"):
            made.among(torch.zeros(2, WIDTH + 1), torch.zeros(2, dtype=torch.int64), torch.tensor([0, 1]))
        assert made.num_classes == CLASSES
        made(torch.ones(2, WIDTH), torch.tensor([0, 4]))
