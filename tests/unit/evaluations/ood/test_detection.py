"""Metrics of detection against pairs counted one by one, scikit-learn and hand-computed ties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from hugbench.evaluations.ood.detection import METRICS, detection

SIDE = st.lists(st.integers(-4, 4), min_size=1, max_size=30)


def detected(inside, outside):
    return detection(torch.tensor(inside), torch.tensor(outside))


def slow(inside, outside):
    """Pairs, and thresholds, one after the other."""
    pairs = [(i > o) + (i == o) / 2 for i in inside for o in outside]
    passing = [t for t in {*inside, *outside} if sum(i >= t for i in inside) / len(inside) >= 0.95 - 1e-12]
    return {
        "auroc": sum(pairs) / len(pairs),
        "fpr_at_95_tpr": sum(o >= max(passing) for o in outside) / len(outside),
        "aupr_in": slow_precision(inside, outside),
        "aupr_out": slow_precision([-o for o in outside], [-i for i in inside]),
    }


def slow_precision(positive, negative):
    total, before = 0.0, 0.0
    for threshold in sorted({*positive, *negative}, reverse=True):
        recall = sum(p >= threshold for p in positive) / len(positive)
        alarms = sum(n >= threshold for n in negative) / len(negative)
        total += (recall - before) * recall / (recall + alarms)
        before = recall
    return total


@settings(deadline=None, max_examples=150)
@given(SIDE, SIDE)
def test_equals_the_loops(inside, outside):
    assert detected(inside, outside) == pytest.approx(slow(inside, outside), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(SIDE, SIDE)
def test_equals_scikit_learn(inside, outside):
    found = detected(inside, outside)
    labels, scores = [1] * len(inside) + [0] * len(outside), [*inside, *outside]
    weights = [1 / len(inside)] * len(inside) + [1 / len(outside)] * len(outside)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, scores))
    precision = average_precision_score(labels, scores, sample_weight=weights)
    assert found["aupr_in"] == pytest.approx(precision)
    others, negated = [1 - label for label in labels], [-score for score in scores]
    precision = average_precision_score(others, negated, sample_weight=weights)
    assert found["aupr_out"] == pytest.approx(precision)


@settings(deadline=None, max_examples=50)
@given(SIDE, SIDE)
def test_only_the_order_matters_and_the_sides_may_be_swapped(inside, outside):
    found = detected(inside, outside)
    stretched = detected([math.exp(i) - 9 for i in inside], [math.exp(o) - 9 for o in outside])
    assert stretched == pytest.approx(found)
    swapped = detected([-o for o in outside], [-i for i in inside])
    assert swapped["auroc"] == pytest.approx(found["auroc"])
    assert swapped["aupr_in"] == pytest.approx(found["aupr_out"])


def test_by_hand_with_a_tie():
    # thresholds 3, 2, 1: inside pass 1/2, 2/2, 2/2; outside 0, 1/2, 1
    assert detected([3, 2], [2, 1]) == pytest.approx(
        {"auroc": 7 / 8, "fpr_at_95_tpr": 0.5, "aupr_in": 0.5 + 0.5 / 1.5, "aupr_out": 0.5 + 0.5 / 1.5}
    )


def test_known_values():
    assert detected([5, 6], [1, 2]) == {"auroc": 1, "fpr_at_95_tpr": 0, "aupr_in": 1, "aupr_out": 1}
    worst = detected([1, 2], [5, 6])
    assert (worst["auroc"], worst["fpr_at_95_tpr"]) == (0, 1)
    assert set(detected([1] * 7, [1] * 3).items()) == {
        ("auroc", 0.5),
        ("fpr_at_95_tpr", 1),
        ("aupr_in", 0.5),
        ("aupr_out", 0.5),
    }
    assert tuple(worst) == METRICS


def test_exactly_95_of_100_are_enough():
    outside = [10] * 50 + [2] * 50  # above the best 95, and among the worst 5
    assert detected([5] * 95 + [1] * 5, outside)["fpr_at_95_tpr"] == 0.5
    assert detected([5] * 94 + [1] * 6, outside)["fpr_at_95_tpr"] == 1


@pytest.mark.parametrize("bad", [[], [math.nan], [1.0, math.inf]])
def test_refuses_what_has_no_order(bad):
    for sides in ((bad, [0.0]), ([0.0], bad)):
        with pytest.raises(ValueError, match="expected"):
            detected(*sides)
