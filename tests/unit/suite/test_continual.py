"""Streams as a suite asks for them: which classes when, and what is refused before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hugbench import describe, registry
from hugbench.errors import UserError
from hugbench.suite import plugins, strategies
from hugbench.suite.continual import (
    ContinualSpec,
    check_criterion,
    check_images,
    check_recipe,
    class_sets,
    strategy,
)
from hugbench.suite.nodes import Node, parse
from hugbench.suite.plugins import CriterionSpec
from hugbench.suite.schema import Recipe

PINNED = ((3, 5), (8, 2), (1, 0), (4, 7), (9, 6))


def spec(text: str = "naive", **changed: Any) -> ContinualSpec:
    node = parse(text, "test")
    name, arguments = node.value, node.with_value(None)
    if isinstance(node.value, dict):
        ((name, arguments),) = node.value.items()
    return ContinualSpec(**{"experiences": 5, "strategy": strategy(name, arguments, "test:1:1"), **changed})


def recipe(**changed: Any) -> Recipe:
    return Recipe.model_validate({"epochs": 1, "batch_size": 8, "lr": 0.1, **changed})


def criterion(text: str) -> CriterionSpec:
    node = parse(text, "test")
    name, arguments = node.value, Node(None, "test")
    if isinstance(node.value, dict):
        ((name, arguments),) = node.value.items()
    return plugins.criterion(name, arguments, "test", Path())


def test_every_class_is_in_one_experience() -> None:
    for seed in range(5):
        sets = class_sets(spec(), 10, seed)
        assert [len(classes) for classes in sets] == [2] * 5
        assert sorted(label for classes in sets for label in classes) == list(range(10))


def test_the_order_is_the_seeds_or_that_of_the_labels() -> None:
    assert class_sets(spec(class_order="fixed"), 10, 3) == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert class_sets(spec(), 10, 3) == class_sets(spec("replay"), 10, 3)
    assert class_sets(spec(), 10, 3) != class_sets(spec(), 10, 4)


def test_the_order_of_a_seed_is_pinned() -> None:
    """Runs of the same id see the same stream, on whatever machine."""
    assert class_sets(spec(), 10, 0) == PINNED


@pytest.mark.parametrize(
    ("rule", "classes", "count", "sizes"),
    [
        ("spread", 10, 3, [4, 3, 3]),
        ("last", 10, 3, [3, 3, 4]),
        ("spread", 10, 7, [2, 2, 2, 1, 1, 1, 1]),
        ("last", 10, 7, [1, 1, 1, 1, 1, 1, 4]),
        ("refuse", 10, 10, [1] * 10),
        ("refuse", 10, 1, [10]),
        ("spread", 100, 5, [20] * 5),
    ],
)
def test_remainders(rule: Any, classes: int, count: int, sizes: list[int]) -> None:
    sets = class_sets(spec(experiences=count, remainder=rule), classes, 0)
    assert [len(part) for part in sets] == sizes
    assert sorted(label for part in sets for label in part) == list(range(classes))


def test_a_remainder_without_a_rule_is_refused_and_says_what_would_divide() -> None:
    with pytest.raises(UserError) as caught:
        class_sets(spec(experiences=3), 10, 0)
    told = str(caught.value)
    for part in ("10 classes", "3 experiences", "1, 2, 5, 10", "spread (4, 3, 3)", "last (3, 3, 4)"):
        assert part in told


def test_more_experiences_than_classes_are_refused() -> None:
    with pytest.raises(UserError, match="more experiences than classes; found 11; expected at most 10"):
        class_sets(spec(experiences=11), 10, 0)


@pytest.mark.parametrize(
    "changed", [{"experiences": 0}, {"class_order": "random"}, {"remainder": "drop"}, {"more": 1}]
)
def test_a_stream_is_strict(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**changed)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("replai", "did you mean 'replay'"),
        ("replay: {memroy: 20}", "did you mean 'memory'"),
        ("replay: {memory: 0}", "greater than 0"),
        ("replay: {memory: 2.5}", "a whole number"),
        ("naive: {memory: 20}", "no arguments"),
        ("ewc: {strength: -1.0}", "greater than or equal to 0"),
        ("ewc: {mode: both}", "separate"),
        ("lwf: {temperature: 0.0}", "greater than 0"),
    ],
)
def test_strategies_are_checked_by_their_signature(text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        spec(text)
    assert told in str(caught.value)
    assert "test:1" in str(caught.value)


def test_arguments_are_kept_with_and_without_defaults() -> None:
    found = spec("replay: {memory: 50}").strategy
    assert found.values() == {"memory": 50, "memory_batch": None}
    assert found.identity() == {"name": "replay", "arguments": {"memory": 50}}
    assert spec("replay: {memory: 200}").strategy.identity() == {"name": "replay", "arguments": {}}


COUNTS = [20] * 10


@pytest.mark.parametrize(
    ("text", "how", "told"),
    [
        ("replay: {memory: 201}", {}, "memory is larger than the data; found 201; expected at most 200"),
        ("gem: {memory: 4}", {}, "expected at least 5"),
        ("agem: {memory: 40, memory_batch: 4}", {}, "expected at least 5, the number of experiences"),
        (
            "replay: {memory: 6}",
            {},
            "batch from the memory is larger than the memory; found 8; expected at most 6",
        ),
        ("der: {memory: 20, memory_batch: 30}", {}, "found 30; expected at most 20"),
        ("naive", {"batch_size": 41}, "what experience 1 trains on; found 41; expected at most 40"),
        ("gdumb: {memory: 20}", {"batch_size": 21}, "expected at most 20"),
        ("cumulative", {"batch_size": 41}, "experience 1"),
        ("joint", {"batch_size": 201}, "expected at most 200"),
        ("naive", {"batch_size": 39, "drop_last": False}, "single image"),
        ("cumulative", {"batch_size": 7, "drop_last": False}, "experience 3 would hold a single image"),
    ],
)
def test_what_the_images_do_not_allow_is_refused(text: str, how: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        check_images(spec(text), recipe(**how), COUNTS, 0)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("replay: {memory: 200}", {}),
        ("gem: {memory: 5}", {}),
        ("agem: {memory: 40}", {}),
        ("naive", {"batch_size": 40}),
        ("joint", {"batch_size": 200}),
        ("gdumb: {memory: 20}", {"batch_size": 20}),
        ("naive", {"batch_size": 39}),
    ],
)
def test_what_just_fits_is_accepted(text: str, how: dict[str, Any]) -> None:
    check_images(spec(text), recipe(**how), COUNTS, 0)


def test_an_experience_without_images_is_refused_and_a_class_without_is_not() -> None:
    fixed = spec(class_order="fixed")
    check_images(fixed, recipe(), [20, 0] * 5, 0)
    with pytest.raises(UserError, match="experience 2 has no training images"):
        check_images(fixed, recipe(), [20, 20, 0, 0, *[20] * 6], 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"mixup": 0.2},
        {"cutmix": 1.0},
        {"ema": 0.9},
        {"compile": True},
        {"precision": "fp16"},
        {"sampling": "class_balanced"},
    ],
)
def test_recipes_that_strategies_cannot_follow_are_refused(changed: dict[str, Any]) -> None:
    check_recipe(recipe())
    with pytest.raises(UserError, match=next(iter(changed))):
        check_recipe(recipe(**changed))


PLAIN = ["cross_entropy", "cross_entropy: {label_smoothing: 0.0}"]


@pytest.mark.parametrize("name", list(strategies.STRATEGIES))
def test_plain_cross_entropy_goes_with_every_strategy(name: str) -> None:
    for text in PLAIN:
        check_criterion(spec(name), criterion(text))


@pytest.mark.parametrize("name", list(strategies.STRATEGIES))
@pytest.mark.parametrize("text", ["hug", "cross_entropy: {label_smoothing: 0.1}", "torch.nn.MultiMarginLoss"])
def test_a_strategy_with_a_loss_of_its_own_serves_no_other_criterion(name: str, text: str) -> None:
    stock = name in {"er_ace", "der", "der_pp", "icarl"}
    if not stock:
        check_criterion(spec(name), criterion(text))
        return
    with pytest.raises(UserError) as caught:
        check_criterion(spec(name), criterion(text))
    assert "cross_entropy" in caught.value.expected
    if name != "icarl":
        assert f"{name}_criterion" in caught.value.expected


@pytest.mark.parametrize(
    ("name", "text"), [("mir", "ntce"), ("mir", "supcon"), ("er_ace_criterion", "supcon")]
)
def test_what_a_criterion_cannot_do_is_refused(name: str, text: str) -> None:
    with pytest.raises(UserError, match=f"{name} cannot train {text}"):
        check_criterion(spec(name), criterion(text))


def test_the_matrix_knows_every_strategy() -> None:
    assert list(strategies.STRATEGIES) == list(registry.STRATEGIES)
    rows = describe.strategies()
    assert [row["strategy"] for row in rows] == list(registry.STRATEGIES)
    assert all(row["summary"] for row in rows)
    by_name = {row["strategy"]: row for row in rows}
    assert by_name["der"]["new images"] == "first experience only"
    assert by_name["icarl"]["new images"] == "never"
    assert by_name["naive"]["replayed images"] == "-"
    assert describe.show("replay")["arguments"][0]["name"] == "memory"


def test_names_that_refuse_criteria_are_names_of_criteria() -> None:
    assert set(registry.CRITERIA) >= strategies.OVER_THE_BATCH | strategies.NOT_BY_CLASS


def test_no_torch_and_no_avalanche_for_a_question() -> None:
    code = (
        "import sys; from hugbench.suite.continual import *; from hugbench.suite.nodes import Node; "
        "s = ContinualSpec(experiences=5, strategy=strategy('icarl', Node(None, ''), '')); "
        "class_sets(s, 10, 0); print(sorted({'torch', 'avalanche'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
