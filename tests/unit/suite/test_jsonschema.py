from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from hugbench.suite.jsonschema import json_schema
from hugbench.suite.loader import shipped_suites
from tests.unit.suite.conftest import BASE

SUITES = Path(__file__).resolve().parents[3] / "suites"


def errors(text: str) -> list[str]:
    # YAML 1.1 reads 5e-4 as a word; editors, like hugbench, read YAML 1.2.
    loaded = yaml.safe_load(text.replace("5e-4", "0.0005").replace("2e-4", "0.0002"))
    return [error.message for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(loaded)]


def test_the_schema_is_valid_and_the_shipped_one_is_current() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads((SUITES / "suite.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_shipped_suites_satisfy_it(name: str) -> None:
    assert errors(shipped_suites()[name].read_text()) == []


def test_axes_and_own_losses_satisfy_it() -> None:
    assert (
        errors(
            BASE.replace("lr: 0.1", "lr: [0.1, 0.2]").replace(
                "hug]", "{name: x, hug: {alpha: 1}, recipe: {lr: 1}}]"
            )
        )
        == []
    )
    tail = "dataset: {name: digits, long_tail: {imbalance_factor: [10, 50]}}"
    assert errors(BASE.replace("dataset: digits", tail)) == []
    tails = "dataset: {name: digits, long_tail: [null, {imbalance_factor: 10, profile: [step, exponential]}]}"
    assert errors(BASE.replace("dataset: digits", tails)) == []
    assert errors(BASE.replace("lr: 0.1", "lr: 0.1, augment: {flip: [true, false]}")) == []
    assert errors(BASE.replace("lr: 0.1", "lr: 0.1, class_weights: {kind: inverse_frequency}")) == []
    assert errors(BASE.replace("hug]", "{my/loss.py:Mine: {weight: 1}}, torch.nn.CrossEntropyLoss]")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr: 0.1", "lr: fast"),
        ("seeds: [0, 1]", "seeds: []"),
        ("epochs", "epoch"),
        ("dataset: digits", "dataset: 3"),
        ("hug]", "{hug: {alhpa: 1}}]"),
        ("stem: cifar", "stem: none"),
        ("dataset: digits", "dataset: {name: digits, long_tail: {imbalance_factor: 0.5}}"),
        ("dataset: digits", "dataset: {name: digits, long_tail: {}}"),
        ("lr: 0.1", "lr: 0.1, class_weights: {kind: effective_number, beta: 1}"),
        ("lr: 0.1", "lr: 0.1, augment: {flipp: true}"),
    ],
)
def test_what_is_wrong_does_not(old: str, new: str) -> None:
    assert errors(BASE.replace(old, new))
