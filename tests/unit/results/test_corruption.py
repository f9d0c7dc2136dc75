"""mCE and relative mCE, by hand."""

from __future__ import annotations

import pytest

from hugbench.results.corruption import corruption_rows, mce

PLACE = {
    "dataset": "cifar10",
    "backbone": "resnet18",
    "protocol": "standard",
    "variant": "",
    "evaluation": "corruption",
    "experience": None,
    "epoch": None,
    "n": 100,
    "reference": None,
    "reliability": None,
}
FOG = {1: 0.7, 2: 0.5}
SNOW = {1: 0.6, 2: 0.2}


def rows(criterion, seed, clean, fog, snow, subset="all", **changes):
    """Accuracies as the evaluation records them: of each severity, their mean, and of all."""
    place = {**PLACE, "run_id": f"{criterion}-{seed}", "criterion": criterion, "seed": seed, "subset": subset}
    place |= changes

    def row(condition, severity, value, metric="accuracy"):
        return {**place, "metric": metric, "condition": condition, "severity": severity, "value": value}

    means = {}
    for kind, found in {"fog": fog, "snow": snow}.items():
        means[kind] = sum(found.values()) / len(found)
        yield from (row(kind, severity, value) for severity, value in found.items())
        yield row(kind, None, means[kind])
    mean = sum(means.values()) / 2
    yield row("clean", None, clean)
    yield row("corrupted", None, mean)
    yield row("corrupted", None, 1 - mean, "mean_corruption_error")


def found(given, baseline="ce"):
    return {
        (row["criterion"], row["seed"], row["subset"], row["metric"]): row["value"]
        for row in corruption_rows(list(given), baseline)
    }


def test_the_ratios_of_the_sums_over_severities_by_hand():
    baseline = rows("ce", 0, 0.9, FOG, SNOW)
    other = rows("hug", 0, 0.95, {1: 0.8, 2: 0.7}, {1: 0.5, 2: 0.4})
    table = found([*baseline, *other])
    # fog: (.2 + .3) / (.3 + .5); snow: (.5 + .6) / (.4 + .8)
    assert table["hug", 0, "all", "mCE"] == pytest.approx((0.5 / 0.8 + 1.1 / 1.2) / 2)
    # what is lost: fog (.15 + .25) / (.2 + .4); snow (.45 + .55) / (.3 + .7)
    assert table["hug", 0, "all", "relative_mCE"] == pytest.approx((0.4 / 0.6 + 1.0 / 1.0) / 2)
    assert table["ce", 0, "all", "mCE"] == table["ce", 0, "all", "relative_mCE"] == 1.0
    assert len(table) == 4


def test_the_record_names_its_reference_and_is_of_the_whole():
    (mce_row, relative), _ = [list(corruption_rows(list(rows("ce", 0, 0.9, FOG, SNOW)), "ce")), None]
    assert (mce_row["metric"], relative["metric"]) == ("mCE", "relative_mCE")
    for row in (mce_row, relative):
        assert (row["reference"], row["condition"], row["severity"]) == ("ce", "corrupted", None)
        assert (row["run_id"], row["n"], row["evaluation"]) == ("ce-0", 100, "corruption")


def test_each_is_paired_with_the_baseline_of_its_own_seed_subset_and_moment():
    given = [
        *rows("ce", 0, 0.9, {1: 0.5}, {1: 0.5}),
        *rows("ce", 1, 0.9, {1: 0.8}, {1: 0.8}),
        *rows("ce", 0, 0.9, {1: 0.6}, {1: 0.6}, subset="few"),
        *rows("ce", 0, 0.9, {1: 0.9}, {1: 0.9}, experience=1),
        *rows("ce", 0, 0.9, {1: 0.2}, {1: 0.2}, variant="lr=1"),
        *rows("hug", 0, 0.9, {1: 0.75}, {1: 0.75}),
        *rows("hug", 1, 0.9, {1: 0.75}, {1: 0.75}),
        *rows("hug", 0, 0.9, {1: 0.75}, {1: 0.75}, subset="few"),
        *rows("hug", 2, 0.9, {1: 0.75}, {1: 0.75}),  # no baseline of this seed
    ]
    ratios = {
        (seed, subset): value
        for (criterion, seed, subset, metric), value in found(given).items()
        if criterion == "hug" and metric == "mCE"
    }
    assert ratios == pytest.approx({(0, "all"): 0.5, (1, "all"): 1.25, (0, "few"): 0.625})


def test_an_undefined_ratio_is_null_and_there():
    flawless = found([*rows("ce", 0, 1.0, {1: 1.0}, {1: 0.5}), *rows("hug", 0, 0.9, {1: 0.9}, {1: 0.9})])
    assert flawless["hug", 0, "all", "mCE"] is None
    assert flawless["ce", 0, "all", "mCE"] is None
    gains = found([*rows("ce", 0, 0.6, {1: 0.7}, {1: 0.5}), *rows("hug", 0, 0.9, {1: 0.8}, {1: 0.8})])
    assert gains["hug", 0, "all", "relative_mCE"] is None
    assert gains["hug", 0, "all", "mCE"] == pytest.approx((0.2 / 0.3 + 0.2 / 0.5) / 2)
    tied = [0.1 + 0.2, 0.3]  # equal but for rounding: nothing is lost, and no ratio is made of it
    assert mce({"fog": 0.1}, {"fog": tied[0] - tied[1]}) is None


def test_other_evaluations_and_damaged_values_are_passed_over():
    plain = [{**row, "evaluation": "accuracy"} for row in rows("ce", 0, 0.9, FOG, SNOW)]
    assert found(plain) == {}
    asked_twice = [{**row, "evaluation": "corruption(seed=1)"} for row in rows("ce", 0, 0.9, FOG, SNOW)]
    assert len(found(asked_twice)) == 2
    other = list(rows("hug", 0, 0.9, FOG, SNOW))
    broken = [{**row, "value": None} if row["condition"] == "fog" else row for row in other]
    assert {key[0] for key in found([*rows("ce", 0, 0.9, FOG, SNOW), *broken])} == {"ce"}
    assert found(other) == {}  # no baseline


def test_no_corruption_at_all_has_no_mean():
    assert mce({}, {}) is None
