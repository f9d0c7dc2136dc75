"""A long-tailed run from the suite to its records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hugbench import api
from hugbench.data.longtail import by_frequency, class_counts
from hugbench.data.sources import load
from hugbench.errors import UserError
from hugbench.suite.schema import DatasetSpec, LongTail

SUITE = """\
criteria:
  - cross_entropy
  - {name: drw, cross_entropy: {}, recipe: {class_weights: {kind: effective_number, after: 0.5}}}
baseline: cross_entropy
dataset: {name: digits, long_tail: {imbalance_factor: 20}, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 8}
recipe: {epochs: 2, batch_size: 64, lr: 0.05, sampling: class_balanced, sampling_after: 0.5}
seeds: [0]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tail.yaml"
    path.write_text(SUITE)
    return path


def test_many_medium_and_few_are_those_of_the_training_set(suite: Path, tmp_path: Path) -> None:
    options = {"results": tmp_path / "results"}
    outcome = api.run(suite, device="cpu", **options)
    assert not outcome.failed
    spec = DatasetSpec(name="digits", long_tail=LongTail(imbalance_factor=20.0), max_test=100)
    data = load(spec, tmp_path, notify=print)
    counts = [int((data.train.targets == label).sum()) for label in range(10)]
    assert counts == list(class_counts(counts[0], 10, spec.long_tail))
    expected = {
        name: sum(int((data.test.targets == label).sum()) for label in labels)
        for name, labels in by_frequency(counts).items()
    }
    assert list(expected) == ["many", "medium", "few"]
    rows = api.records(suite, **options)
    for label in ("cross_entropy", "drw"):
        found = {
            row["subset"]: row
            for row in rows
            if row["criterion"] == label and row["metric"] == "accuracy" and row["subset"] in expected
        }
        assert {name: row["n"] for name, row in found.items()} == expected
        total = sum(row["n"] * row["value"] for row in found.values())
        (overall,) = (
            row["value"]
            for row in rows
            if (row["criterion"], row["metric"], row["subset"]) == (label, "accuracy", "all")
        )
        assert total / 100 == pytest.approx(overall)


def test_a_run_says_what_it_was_trained_on(suite: Path, tmp_path: Path) -> None:
    outcome = api.run(suite, device="cpu", results=tmp_path / "results")
    for planned in outcome.plan.runs:
        folder = tmp_path / "results" / "runs" / planned.run.run_id
        stored = yaml.safe_load((folder / "run.yaml").read_text())
        assert stored["dataset"]["long_tail"] == {
            "imbalance_factor": 20.0,
            "profile": "exponential",
            "class_order": "fixed",
            "seed": 0,
        }
        assert stored["recipe"]["sampling"] == "class_balanced"
        assert len((folder / "train.jsonl").read_text().splitlines()) == 2
        assert json.loads((folder / "status.json").read_text())["state"] == "trained"


def test_balanced_classes_are_not_told_apart(suite: Path, tmp_path: Path) -> None:
    options = {"results": tmp_path / "results", "settings": ["dataset.long_tail=null", "recipe.epochs=1"]}
    api.run(suite, device="cpu", **options)
    subsets = {row["subset"] for row in api.records(suite, **options)}
    assert not subsets & {"many", "medium", "few"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("dataset.long_tail.imbalance_factor=150", "imbalance_factor: the rarest class"),
        ("dataset.max_train=40", "dataset.max_train: the rarest class"),
    ],
)
def test_an_empty_class_is_refused_before_anything_runs(
    suite: Path, tmp_path: Path, setting: str, words: str
) -> None:
    for verb in (api.validate, api.plan, api.run):
        options = {} if verb is api.validate else {"results": tmp_path / "results"}
        with pytest.raises(UserError, match=words):
            verb(suite, settings=[setting], **options)
    assert not (tmp_path / "results").exists()
