from __future__ import annotations

import pytest

from hugbench.results.estimate import Estimator
from hugbench.results.traits import Traits

BASE = Traits("hug", "digits", "resnet", "standard", "64 fp32", 1000, 200)


@pytest.fixture
def estimator() -> Estimator:
    return Estimator("cpu")


def test_nothing_is_guessed(estimator: Estimator) -> None:
    assert estimator.epoch(BASE) is None
    assert estimator.evaluation(BASE, "accuracy-1") is None


def test_the_median_of_like_runs(estimator: Estimator) -> None:
    for seconds in (1.0, 2.0, 60.0):
        estimator.teach_epoch(BASE, "cpu", seconds)
    assert estimator.epoch(BASE) == 2.0


def test_what_was_answered_changes_with_what_is_learnt(estimator: Estimator) -> None:
    assert estimator.epoch(BASE) is None
    estimator.teach_epoch(BASE, "cpu", 3.0)
    assert estimator.epoch(BASE) == 3.0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"criterion": "softmax"}, 10.0),
        ({"step": "128 fp32"}, 10.0),
        ({"dataset": "cifar", "train": 5000}, 50.0),
        ({"dataset": "cifar", "train": 5000, "step": "128 fp32"}, 50.0),
        ({"dataset": "cifar", "train": None}, None),
        ({"protocol": "stream", "train": None}, None),
        ({"model": "vgg"}, None),
    ],
)
def test_ever_less_alike(estimator: Estimator, change: dict[str, object], expected: float | None) -> None:
    estimator.teach_epoch(BASE, "cpu", 10.0)
    assert estimator.epoch(BASE._replace(**change)) == expected  # type: ignore[arg-type]


def test_the_more_alike_counts(estimator: Estimator) -> None:
    for seconds, like in ((1.0, BASE), (2.0, BASE._replace(criterion="softmax"))):
        estimator.teach_epoch(like, "cpu", seconds)
    estimator.teach_epoch(BASE._replace(dataset="cifar", train=10), "cpu", 99.0)
    assert estimator.epoch(BASE) == 1.0
    assert estimator.epoch(BASE._replace(criterion="new")) == 1.5


def test_the_same_hardware_counts_before_a_run_more_alike(estimator: Estimator) -> None:
    estimator.teach_epoch(BASE, "gpu", 1.0)
    assert estimator.epoch(BASE) == 1.0
    estimator.teach_epoch(BASE._replace(criterion="softmax"), "cpu", 100.0)
    assert estimator.epoch(BASE) == 100.0


def test_without_a_known_hardware_all_count() -> None:
    estimator = Estimator()
    estimator.teach_epoch(BASE, "gpu", 1.0)
    estimator.teach_epoch(BASE, None, 3.0)
    assert estimator.epoch(BASE) == 2.0


@pytest.mark.parametrize(
    ("key", "change", "expected"),
    [
        ("adversarial-1", {}, 8.0),
        ("adversarial-1", {"criterion": "softmax"}, 8.0),
        ("adversarial-2", {}, 8.0),
        ("adversarial-2", {"dataset": "cifar", "test": 400}, 16.0),
        ("adversarial-1", {"dataset": "cifar", "test": None}, None),
        ("accuracy-1", {}, None),
        ("adversarial-1", {"model": "vgg"}, None),
    ],
)
def test_evaluations(
    estimator: Estimator, key: str, change: dict[str, object], expected: float | None
) -> None:
    estimator.teach_evaluation(BASE, "adversarial-1", "cpu", 8.0)
    assert estimator.evaluation(BASE._replace(**change), key) == expected  # type: ignore[arg-type]
