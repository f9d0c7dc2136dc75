"""The numbers of a stream, by hand: three experiences."""

from __future__ import annotations

import pytest

from hugbench.results.stream import stream_rows, summarise

R = {
    0: {1: 0.10, 2: 0.20, 3: 0.30},
    1: {1: 0.90, 2: 0.25, 3: 0.30},
    2: {1: 0.95, 2: 0.80, 3: 0.45},
    3: {1: 0.50, 2: 0.60, 3: 0.70},
}
SEEN = {1: 0.90, 2: 0.85, 3: 0.62}

BY_HAND = {
    "final_accuracy": (0.50 + 0.60 + 0.70) / 3,
    "average_incremental_accuracy": (0.90 + 0.85 + 0.62) / 3,
    "forgetting": ((0.95 - 0.50) + (0.80 - 0.60)) / 2,
    "forgetting_initial": ((0.90 - 0.50) + (0.80 - 0.60)) / 2,
    "backward_transfer": ((0.50 - 0.90) + (0.60 - 0.80)) / 2,
    "forward_transfer": ((0.25 - 0.20) + (0.45 - 0.30)) / 2,
}


def test_every_number_by_hand():
    assert summarise(R, SEEN, 3) == pytest.approx(BY_HAND)


def test_nothing_is_forgotten_where_nothing_changes():
    same = {i: {1: 0.5, 2: 0.5, 3: 0.5} for i in range(4)}
    found = summarise(same, dict.fromkeys((1, 2, 3), 0.5), 3)
    zero = {"forgetting", "forgetting_initial", "backward_transfer", "forward_transfer"}
    assert {name for name, value in found.items() if value == 0} == zero


def test_a_missing_row_leaves_out_what_needs_it():
    without_untrained = {i: row for i, row in R.items() if i}
    assert set(BY_HAND) - set(summarise(without_untrained, SEEN, 3)) == {"forward_transfer"}
    only_last = summarise({3: R[3]}, {3: SEEN[3]}, 3)
    assert set(only_last) == {"final_accuracy"}
    assert summarise({}, {}, 3) == {}


def test_one_experience_forgets_nothing_and_says_nothing_of_it():
    assert summarise({0: {1: 0.1}, 1: {1: 0.8}}, {1: 0.8}, 1) == {
        "final_accuracy": 0.8,
        "average_incremental_accuracy": 0.8,
    }


def records(metric: str = "accuracy", condition: str = "clean"):
    place = {"run_id": "x-1", "evaluation": "accuracy", "condition": condition, "severity": None, "seed": 0}
    for i, row in R.items():
        for j, value in row.items():
            yield {
                **place,
                "metric": metric,
                "experience": i,
                "subset": f"experience:{j}",
                "value": value,
                "n": 10 * j,
            }
        if i:
            yield {**place, "metric": metric, "experience": i, "subset": "seen", "value": SEEN[i], "n": 60}
        yield {**place, "metric": "temperature", "experience": i, "subset": "all", "value": 2.0, "n": 5}


def test_records_of_a_stream_become_records_of_its_numbers():
    found = list(stream_rows(list(records()), 3))
    assert {row["metric"]: row["value"] for row in found} == pytest.approx(BY_HAND)
    assert {(row["experience"], row["subset"], row["n"], row["run_id"]) for row in found} == {
        (3, "all", 60, "x-1")
    }


def test_conditions_and_metrics_are_streams_of_their_own():
    rows = [*records(), *records("robust_accuracy", "pgd")]
    found = {(row["metric"], row["condition"]): row["value"] for row in stream_rows(rows, 3)}
    assert found["forgetting", "clean"] == found["robust_accuracy.forgetting", "pgd"]
    assert len(found) == 2 * len(BY_HAND)


def test_of_a_corruption_the_mean_over_severities_is_a_stream_and_no_single_one():
    single = [{**row, "severity": severity} for row in records(condition="fog") for severity in (1, 5)]
    found = list(stream_rows([*records(condition="fog"), *single], 3))
    assert {row["metric"]: row["value"] for row in found} == pytest.approx(BY_HAND)
    assert {row["condition"] for row in found} == {"fog"}
    assert len(found) == len(BY_HAND)


def test_a_run_outside_a_stream_has_none():
    rows = [{**row, "experience": None} for row in records()]
    assert list(stream_rows(rows, 3)) == []
