"""Which numbers are primary, and which are shown."""

from __future__ import annotations

from typing import Any

import pytest

from hugbench.results.cells import Quantity
from hugbench.results.primary import Choice, primary_of


def row(metric: str, condition: str = "clean", **changes: Any) -> dict[str, Any]:
    place = {"severity": None, "experience": None, "epoch": None, "subset": "all"}
    return {"metric": metric, "condition": condition, **place, **changes}


ROWS = {
    "accuracy": [
        row("accuracy"),
        row("top5_accuracy"),
        row("accuracy", subset="class:0"),
        row("accuracy", epoch=3),
    ],
    "accuracy(split=validation)": [row("accuracy"), row("temperature")],
    "corruption": [
        row("mean_corruption_error", "corrupted"),
        row("accuracy", "corrupted"),
        row("accuracy", "fog"),
        row("accuracy", "fog", severity=3),
    ],
    "calibration": [
        row("expected_calibration_error"),
        row("expected_calibration_error", "corrupted"),
        row("expected_calibration_error", "fog"),
        row("brier_score"),
    ],
    "adversarial": [
        row("robust_accuracy", "Linf 1/255"),
        row("robust_accuracy", "Linf 2/255"),
        row("accuracy"),
    ],
    "ood": [row("msp.auroc", "near"), row("msp.auroc", "near: cifar10"), row("msp.fpr", "near")],
    "collapse": [row("nc1")],
}

PRIMARY = {
    "accuracy": [0],
    "accuracy(split=validation)": [0],
    "corruption": [0],
    "calibration": [0, 1],
    "adversarial": [0, 1],
    "ood": [0],
    "collapse": [],
}


@pytest.mark.parametrize("evaluation", ROWS)
def test_the_primary_numbers_are_shown_and_no_others(evaluation: str) -> None:
    rows = ROWS[evaluation]
    assert Choice().keep(evaluation, rows, None) == [rows[place] for place in PRIMARY[evaluation]]
    quantities = [
        Quantity("d", "b", "p", "v", evaluation, *[found[n] for n in Quantity._fields[5:]]) for found in rows
    ]
    assert primary_of(quantities) == {quantities[place] for place in PRIMARY[evaluation]}


def test_more_is_there_on_demand() -> None:
    rows = ROWS["accuracy"]
    assert Choice(everything=True).keep("accuracy", rows, None) == rows
    assert Choice(metrics=("top5_accuracy",)).keep("accuracy", rows, None) == rows[1:2]
    assert Choice(metrics=("accuracy",), everything=True).keep("accuracy", rows, None) == [rows[0], *rows[2:]]
    assert Choice(evaluations=("collapse",)).keep("accuracy", rows, None) == []
    assert Choice(evaluations=("collapse",)).keep("collapse", ROWS["collapse"], None) == ROWS["collapse"]
    named = "accuracy(split=validation)"
    assert len(Choice(evaluations=("accuracy",)).keep(named, ROWS[named], None)) == 1
    assert len(Choice(evaluations=(named,)).keep("accuracy", rows, None)) == 0
    assert Choice().keep("accuracy", [], None) == []


def test_the_end_of_a_stream_is_its_last_experience() -> None:
    rows = [row("accuracy", experience=number) for number in range(6)]
    rows += [row("average_incremental_accuracy", experience=5), row("forgetting", experience=5)]
    assert Choice().keep("accuracy", rows, 5) == [rows[5], rows[6]]
