"""Published numbers: the shipped file is sound, has its sources, and matches runs of the same setting only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hugbench
from hugbench.errors import UserError
from hugbench.registry import CRITERIA
from hugbench.results.published import beside, family, read_published
from hugbench.suite.baselines import shipped_baselines
from hugbench.suite.strategies import STRATEGIES

GOOD = """\
sources:
  one: {paper: "A. Author, A title, V 2020", arxiv: "2001.00001", place: Table 1}
results:
  - source: one
    dataset: cifar10
    backbone: resnet32
    protocol: standard
    metric: accuracy
    numbers: [{criterion: cross_entropy, method: CE, value: 0.9}]
"""


def specification(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "cifar100", "long_tail": None},
        "model": {"backbone": "resnet18"},
        "protocol": {"name": "standard"},
        **changes,
    }


def test_every_shipped_number_names_its_source_and_what_hugbench_knows() -> None:
    found = read_published()
    assert len(found) > 40
    for each in found:
        assert each.number.criterion in CRITERIA
        assert each.source.paper
        assert 0 <= each.number.value <= 1
        strategy = each.result.setting.strategy
        assert strategy is None or strategy in STRATEGIES
        assert (strategy is not None) == (each.result.protocol == "continual")


def test_none_is_of_hugs_paper() -> None:
    assert not [each for each in read_published() if each.number.criterion == "hug"]
    assert "2303.06484" not in {each.source.arxiv for each in read_published()}
    text = (Path(__file__).resolve().parents[3] / "baselines" / "published.yaml").read_text()
    assert "no number of HUG's own paper" in " ".join(text.split())


def test_no_number_stands_twice() -> None:
    told = [json.dumps({**each.to_json(), "value": 0, "deviation": 0}) for each in read_published()]
    assert len(told) == len(set(told))


def test_the_file_is_no_baseline() -> None:
    assert "published" not in shipped_baselines()


def test_by_data_set() -> None:
    found = hugbench.published("cifar10")
    assert {each["dataset"] for each in found} == {"cifar10"}
    assert all(each["published"] is True for each in found)
    with pytest.raises(UserError, match="no published numbers of it"):
        hugbench.published("mnist")


def test_beside_are_those_of_the_same_setting() -> None:
    found = beside([specification()])
    assert {each.result.dataset for each in found} == {"cifar100"}
    assert {each.result.setting.imbalance_factor for each in found} == {None}
    assert "nonl" in {each.number.criterion for each in found}
    tail = specification(dataset={"name": "cifar100", "long_tail": {"imbalance_factor": 10.0}})
    assert {each.number.value for each in beside([tail])} == {0.4429, 0.4309, 0.4129}


def test_beside_are_none_of_another_family_or_data_set() -> None:
    assert beside([specification(model={"backbone": "test_resnet"})]) == []
    assert beside([specification(dataset={"name": "digits"})]) == []


def test_a_stream_matches_by_experiences_strategy_and_memory() -> None:
    def stream(name: str, memory: int, experiences: int = 5) -> dict[str, Any]:
        strategy = {"name": name, "arguments": json.dumps({"memory": memory})}
        protocol = {"name": "continual", "experiences": experiences, "strategy": strategy}
        return specification(dataset={"name": "cifar10"}, protocol=protocol)

    assert [each.number.value for each in beside([stream("replay", 200)])] == [0.4479]
    assert [each.number.value for each in beside([stream("der_pp_criterion", 500)])] == [0.7270]
    assert beside([stream("replay", 300)]) == []
    assert beside([stream("replay", 200, experiences=10)]) == []


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [("resnet18", "resnet"), ("resnet32", "resnet"), ("wide_resnet28_10", "wide_resnet"), ("mlp", "mlp")],
)
def test_families(backbone: str, expected: str) -> None:
    assert family(backbone) == expected


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("value: 0.9", "value: 90", "value"),
        ("source: one", "source: two", "no such source"),
        ("metric: accuracy", "metric: acc", "metric"),
        ('arxiv: "2001.00001"', 'arxiv: "somewhere"', "arxiv"),
        ("protocol: standard", "protocl: standard", "protocl"),
        ("numbers: [{criterion: cross_entropy, method: CE, value: 0.9}]", "numbers: []", "numbers"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, before: str, after: str, words: str) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(GOOD)
    assert len(read_published(file)) == 1
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(GOOD.replace(before, after))
    with pytest.raises(UserError, match=words):
        read_published(wrong)
