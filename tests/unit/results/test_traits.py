from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hugbench.results.store import RunFolder
from hugbench.results.traits import training_images, traits_of
from tests.unit.results.timed import plan_of, write_specification

WHOLE = {"name": "cifar10", "validation": 0.0, "long_tail": None, "max_train": None, "max_test": None}
TAIL = {"imbalance_factor": 100.0, "profile": "step", "class_order": "fixed", "seed": 0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 50_000),
        ({"validation": 0.1}, 45_000),
        ({"max_train": 1000}, 1000),
        ({"max_train": 10**6}, 50_000),
        ({"long_tail": TAIL}, 5 * 5000 + 5 * 50),
        ({"long_tail": {**TAIL, "imbalance_factor": 1e9}}, None),
        ({"name": "imagenet"}, 1281 * 1000),  # of 1,281,167: its classes are not all alike
        ({"name": "my_folder"}, None),
        ({"name": "my_folder", "max_train": 300}, 300),
    ],
)
def test_images_of_an_epoch(changes: dict[str, object], expected: int | None) -> None:
    assert training_images({**WHOLE, **changes}) == expected


def test_seeds_do_not_count_and_a_folder_tells_the_same_as_a_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    first, hug, second, _ = plan.runs
    assert traits_of(first.run.resolved()) == traits_of(second.run.resolved())
    assert traits_of(first.run.resolved()) != traits_of(hug.run.resolved())
    folder = RunFolder(tmp_path, first.run.run_id)
    folder.path.mkdir(parents=True)
    write_specification(folder, first.run)
    read = yaml.safe_load((folder.path / "run.yaml").read_text())
    assert traits_of(read) == traits_of(first.run.resolved())


def test_streams_have_no_number_of_images_for_an_epoch(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, protocol="{continual: {experiences: 5, strategies: [naive]}}")
    assert {traits_of(planned.run.resolved()).train for planned in plan.runs} == {None}


@pytest.mark.parametrize("broken", [{}, {"dataset": None}, {"dataset": {}, "recipe": {}}])
def test_what_is_no_specification_is_said(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, AttributeError)):
        traits_of(broken)
