"""The references that hugbench ships: of the suites as they are, and fit to tell noise from change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hugbench.reporting.tables import is_fraction
from hugbench.results.cells import Cells
from hugbench.results.drift import Change, drift
from hugbench.results.provenance import evaluation_keys, suite_sha256
from hugbench.results.references import FOLDER, read_reference
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import SPEC_VERSION, make_plan

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / FOLDER).glob("*.jsonl"))

Row = dict[str, Any]


def rows_of(suite: str) -> Sequence[Row]:
    return read_reference(ROOT / FOLDER / f"{suite}.jsonl").rows


def cells(rows: Sequence[Row], seeds: Sequence[int], criterion: str = "", loss: float = 0.0) -> Cells:
    """The records of some seeds, called 0, 1 and so on; a criterion has lost some accuracy."""
    found = Cells()
    for row in rows:
        if row["seed"] in seeds:
            here = row["criterion"] == criterion and row["protocol"] == "standard"
            lost = loss if here and row["evaluation"] == row["metric"] == "accuracy" else 0
            value = row["value"] if row["value"] is None else row["value"] - lost
            found.add({**row, "seed": seeds.index(row["seed"]), "value": value})
    return found


def accuracy(changes: Sequence[Change], criterion: str) -> Change:
    (found,) = (
        change
        for change in changes
        if change.criterion == criterion
        and change.quantity.protocol == "standard"
        and change.quantity.evaluation == change.quantity.metric == "accuracy"
    )
    return found


def test_both_are_there() -> None:
    assert [path.stem for path in SHIPPED] == ["regression", "regression_fashion_mnist"]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_it_is_of_the_suite_as_it_is(file: Path) -> None:
    """Where a suite changes, its reference has to be frozen again."""
    header = read_reference(file).header
    plan = make_plan(load_suite(ROOT / "suites" / f"{file.stem}.yaml"))
    assert header["spec_version"] == SPEC_VERSION
    assert header["suite_sha256"] == suite_sha256(plan)
    assert header["evaluations"] == evaluation_keys(plan)
    assert tuple(header["seeds"]) == plan.seeds
    assert not [text for text in header["remarks"] if text.startswith("partial")]
    assert {run["run_id"] for run in header["runs"]} == {planned.run.run_id for planned in plan.runs}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_it_says_that_it_was_run_on_a_cpu_from_a_revision(file: Path) -> None:
    header = read_reference(file).header
    assert header["remarks"][0].startswith("run on a CPU only")
    for environment in header["environments"]:
        assert len(environment["git_revision"]) == 40


def test_every_protocol_and_every_evaluation_is_guarded() -> None:
    rows = rows_of("regression")
    assert {row["evaluation"] for row in rows} == {
        "accuracy",
        "adversarial",
        "calibration",
        "collapse",
        "corruption",
        "ood",
    }
    assert len({row["protocol"] for row in rows}) == 3
    assert len({row["criterion"] for row in rows}) == 3


@pytest.mark.parametrize("seeds", [((0, 1), (2, 3)), ((0, 2), (3, 1)), ((0, 3), (1, 2)), ((3, 2), (0, 1))])
def test_other_seeds_of_the_same_code_pass(seeds: tuple[tuple[int, int], tuple[int, int]]) -> None:
    rows = rows_of("regression")
    changes = drift(cells(rows, seeds[0]), cells(rows, seeds[1]), is_fraction)
    assert len(changes) > 800
    assert [change for change in changes if change.moved] == []


@pytest.mark.parametrize(
    ("suite", "criterion"),
    [
        ("regression", "cross_entropy"),
        ("regression_fashion_mnist", "hug"),
        ("regression_fashion_mnist", "normface"),
    ],
)
def test_three_points_among_trainings_anew_are_caught_and_a_tenth_is_not(suite: str, criterion: str) -> None:
    """The others' seeds spread too widely: their tolerance is between 3 and 4.5 points."""
    rows = rows_of(suite)
    seeds = sorted({row["seed"] for row in rows})
    before = cells(rows, seeds)
    for loss, verdict in ((0.03, "worse"), (0.001, "within")):
        now = cells(rows, [*seeds[1:], seeds[0]], criterion, loss)
        assert accuracy(drift(before, now, is_fraction), criterion).verdict == verdict


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("criterion", ["cross_entropy", "hug", "normface"])
def test_three_points_of_the_same_models_are_caught_and_a_tenth_is_not(file: Path, criterion: str) -> None:
    rows = rows_of(file.stem)
    seeds = sorted({row["seed"] for row in rows})
    before = cells(rows, seeds)
    for loss, verdict in ((0.03, "worse"), (0.001, "within")):
        changes = drift(before, cells(rows, seeds, criterion, loss), is_fraction)
        assert accuracy(changes, criterion).verdict == verdict
        assert sum(change.verdict != "identical" for change in changes) == 1
