"""Comparisons of records, complete and not."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from typing import Any

import pytest
import scipy.stats

from hugbench.results.comparison import Arm, Comparison, Quantity, compare_records, direction

PLACE = {
    "dataset": "digits",
    "backbone": "test_resnet",
    "protocol": "standard",
    "variant": "",
    "evaluation": "accuracy",
    "metric": "accuracy",
    "condition": "clean",
    "severity": None,
    "experience": None,
    "epoch": None,
    "subset": "all",
}


def row(criterion: str, seed: int, value: float | None, **changes: Any) -> dict[str, Any]:
    record = {"run_id": f"{criterion}-{seed}", "criterion": criterion, "seed": seed, "value": value, "n": 360}
    return {**record, **PLACE, **changes}


def rows(values: dict[str, dict[int, float]], **changes: Any) -> list[dict[str, Any]]:
    return [
        row(criterion, seed, value, **changes)
        for criterion, found in values.items()
        for seed, value in found.items()
    ]


def arm(comparison: Comparison, criterion: str, group: int = 0) -> Arm:
    return next(arm for arm in comparison.groups[group].arms if arm.criterion == criterion)


CE = {0: 0.90, 1: 0.91, 2: 0.92}
HUG = {0: 0.93, 1: 0.95, 2: 0.95}


def test_every_criterion_is_paired_with_the_baseline() -> None:
    found = compare_records(rows({"hug": HUG, "cross_entropy": CE}), "cross_entropy")
    hug = arm(found, "hug")
    assert hug.interval is not None
    assert hug.difference is not None
    assert hug.interval.mean == pytest.approx(0.943333, abs=1e-6)
    assert hug.difference.mean == pytest.approx(0.1 / 3)
    known = scipy.stats.ttest_rel(list(HUG.values()), list(CE.values())).pvalue
    assert hug.difference.p_value == pytest.approx(known)
    assert hug.verdict == "better"
    assert arm(found, "cross_entropy").difference is None
    assert arm(found, "cross_entropy").verdict == "baseline"


def test_rows_in_any_order_give_the_same_pairs() -> None:
    records = rows({"hug": HUG, "cross_entropy": CE})
    shuffled = random.Random(0).sample(records, len(records))
    criteria = ["cross_entropy", "hug"]
    assert compare_records(records, "cross_entropy", criteria=criteria) == compare_records(
        shuffled, "cross_entropy", criteria=criteria
    )


def test_groups_differ_by_every_field_of_the_place() -> None:
    other = {**PLACE, "severity": 3, "experience": 1, "epoch": 2} | {
        name: f"other {name}" for name, value in PLACE.items() if isinstance(value, str)
    }
    records = rows({"cross_entropy": CE})
    for name in PLACE:
        records += rows({"cross_entropy": HUG}, **{name: other[name]})
    found = compare_records(records, "cross_entropy")
    assert len(found.groups) == 1 + len(PLACE)
    assert [group.arms[0].values for group in found.groups] == [CE] + [HUG] * len(PLACE)
    assert set(Quantity._fields) == set(PLACE)


def test_criteria_keep_their_order() -> None:
    values = {"nonl": CE, "hug": HUG, "cross_entropy": CE}
    assert compare_records(rows(values), "cross_entropy").criteria == ("nonl", "hug", "cross_entropy")
    asked = compare_records(rows(values), "cross_entropy", criteria=["cross_entropy", "hug", "mgd"])
    assert asked.criteria == ("cross_entropy", "hug", "mgd", "nonl")
    assert [arm.criterion for arm in asked.groups[0].arms] == list(asked.criteria)


def test_a_missing_seed_is_named_and_the_rest_compared() -> None:
    found = compare_records(rows({"cross_entropy": CE, "hug": {0: 0.93, 2: 0.95}}), "cross_entropy")
    hug = arm(found, "hug")
    assert hug.missing == (1,)
    assert hug.difference is not None
    assert hug.difference.seeds == (0, 2)
    assert hug.difference.mean == pytest.approx(0.03)
    assert hug.verdict == "not testable"
    assert arm(found, "cross_entropy").missing == ()


def test_seeds_asked_for_are_missed_even_where_no_arm_has_them() -> None:
    found = compare_records(rows({"cross_entropy": CE}), "cross_entropy", seeds=[0, 1, 2, 3])
    assert arm(found, "cross_entropy").missing == (3,)


def test_a_seed_of_another_metric_counts_as_missing_here() -> None:
    records = rows({"cross_entropy": CE}) + rows({"cross_entropy": {0: 0.1}}, metric="temperature")
    assert arm(compare_records(records, "cross_entropy"), "cross_entropy", group=1).missing == (1, 2)


def test_a_criterion_without_a_run_stays_visible() -> None:
    found = compare_records(rows({"cross_entropy": CE}), "cross_entropy", criteria=["cross_entropy", "hug"])
    hug = arm(found, "hug")
    assert (hug.interval, hug.difference, hug.missing) == (None, None, (0, 1, 2))
    assert hug.verdict == "not testable"


def test_a_failed_baseline_leaves_the_rest() -> None:
    found = compare_records(rows({"hug": HUG}), "cross_entropy", criteria=["cross_entropy", "hug"])
    hug = arm(found, "hug")
    assert hug.interval is not None
    assert hug.difference is None
    assert found.notes == (
        "no run of the baseline cross_entropy is finished for digits, test_resnet, standard",
    )


def test_a_baseline_that_failed_on_one_variant_is_missed_there_only() -> None:
    records = rows({"cross_entropy": CE, "hug": HUG}) + rows({"hug": HUG}, variant="recipe.lr=0.1")
    found = compare_records(records, "cross_entropy")
    assert arm(found, "hug", group=0).difference is not None
    assert arm(found, "hug", group=1).difference is None
    assert len(found.notes) == 1
    assert "recipe.lr=0.1" in found.notes[0]


def test_arms_without_a_shared_seed_say_so() -> None:
    found = compare_records(rows({"cross_entropy": {0: 0.9}, "hug": {1: 0.95}}), "cross_entropy")
    hug = arm(found, "hug")
    assert hug.difference is not None
    assert (hug.difference.n, hug.difference.note) == (0, "no shared seed")
    assert hug.verdict == "not testable"


@pytest.mark.parametrize("value", [None, math.inf, math.nan])
def test_values_that_are_no_numbers_are_named(value: float | None) -> None:
    records = [*rows({"cross_entropy": CE, "hug": {0: 0.93, 1: 0.95}}), row("hug", 2, value)]
    hug = arm(compare_records(records, "cross_entropy"), "hug")
    assert (hug.not_finite, hug.missing, hug.values) == ((2,), (), {0: 0.93, 1: 0.95})


def test_two_values_in_one_place_are_left_out_and_reported() -> None:
    records = [*rows({"cross_entropy": CE, "hug": HUG}), row("hug", 1, 0.5), row("hug", 1, 0.95)]
    found = compare_records(records, "cross_entropy")
    assert arm(found, "hug").values == {0: 0.93, 2: 0.95}
    assert arm(found, "hug").missing == (1,)
    assert len(found.notes) == 1
    assert found.notes[0].startswith("hug, digits, test_resnet, standard, accuracy: several values")


def test_the_same_row_twice_is_one() -> None:
    records = rows({"cross_entropy": CE, "hug": HUG})
    assert compare_records(records * 2, "cross_entropy") == compare_records(records, "cross_entropy")


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("accuracy", "higher"),
        ("top5_accuracy", "higher"),
        ("nearest_class_mean_accuracy", "higher"),
        ("negative_log_likelihood", "lower"),
        ("expected_calibration_error", "lower"),
        ("temperature", "neutral"),
    ],
)
def test_verdict_knows_which_way_is_better(metric: str, better: str) -> None:
    assert direction(metric) == better
    verdicts = {
        "higher": ("better", "worse"),
        "lower": ("worse", "better"),
        "neutral": ("differs", "differs"),
    }
    up, down = (
        arm(compare_records(rows({"base": low, "other": high}, metric=metric), "base"), "other").verdict
        for low, high in ((CE, HUG), (HUG, CE))
    )
    assert (up, down) == verdicts[better]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({0: 0.95, 1: 0.90, 2: 0.93}, "undecided"),
        (CE, "identical"),
        ({seed: value + 0.02 for seed, value in CE.items()}, "not testable"),
        ({0: 0.95, 1: 0.96}, "not testable"),
        ({0: 0.95}, "not testable"),
    ],
)
def test_verdict_claims_no_more_than_the_seeds_allow(values: dict[int, float], verdict: str) -> None:
    found = compare_records(rows({"cross_entropy": CE, "hug": values}), "cross_entropy")
    assert arm(found, "hug").verdict == verdict


def test_equal_differences_are_decided_from_six_seeds_on() -> None:
    base = {seed: 0.1 * seed for seed in range(6)}
    other = {seed: value - 0.01 for seed, value in base.items()}
    assert arm(compare_records(rows({"base": base, "other": other}), "base"), "other").verdict == "worse"


def test_images_are_those_behind_the_values() -> None:
    records = [row("cross_entropy", 0, 0.9, n=100), row("cross_entropy", 1, 0.9, n=80)]
    assert compare_records(records, "cross_entropy").groups[0].images == 80


def test_no_records_at_all() -> None:
    found = compare_records([], "cross_entropy", criteria=["cross_entropy", "hug"])
    assert (found.groups, found.criteria, found.notes) == ((), ("cross_entropy", "hug"), ())


def test_json_is_plain_and_complete() -> None:
    records = [*rows({"cross_entropy": CE, "hug": {0: 0.93}}), row("hug", 2, math.nan)]
    found = compare_records(records, "cross_entropy", criteria=["cross_entropy", "hug", "nonl"])
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["baseline"] == "cross_entropy"
    assert data["criteria"] == ["cross_entropy", "hug", "nonl"]
    (group,) = data["groups"]
    assert {name: group[name] for name in PLACE} == PLACE
    assert (group["direction"], group["n"]) == ("higher", 360)
    base, hug, nonl = group["arms"]
    assert base["values"] == {"0": 0.90, "1": 0.91, "2": 0.92}
    assert base["interval"]["n"] == 3
    assert base["difference"] is None
    assert hug["difference"]["seeds"] == [0]
    assert (hug["missing"], hug["not_finite"]) == ([1], [2])
    assert nonl["interval"] is None
    assert nonl["missing"] == [0, 1, 2]


def test_comparing_and_reporting_import_no_torch() -> None:
    program = (
        "import sys, hugbench.reporting.live, hugbench.reporting.terminal\n"
        "from hugbench.results.comparison import compare_records\n"
        "compare_records([], 'cross_entropy')\n"
        "print(*sorted({'torch', 'scipy.stats', 'scipy.special', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
