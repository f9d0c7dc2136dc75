"""The tables of corruption: the numbers by hand, within the width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hugbench.evaluations.corruption.names import KINDS
from hugbench.reporting.terminal import comparison_table
from hugbench.results.comparison import compare_records
from hugbench.results.corruption import corruption_rows

PLACE = {
    "dataset": "cifar10",
    "backbone": "resnet18",
    "protocol": "standard",
    "variant": "",
    "evaluation": "corruption",
    "experience": None,
    "epoch": None,
    "n": 10000,
    "reference": None,
    "reliability": None,
}


def rows(kinds, errors, subset="all", severities=(1, 2, 3, 4, 5), **changes):
    """Error `errors[criterion][seed]` at every severity, a tenth of that on clean images."""
    for criterion, found in errors.items():
        for seed, error in enumerate(found):
            own = {**PLACE, "run_id": criterion, "criterion": criterion, "seed": seed, "subset": subset}
            own |= changes
            accuracy = {**own, "metric": "accuracy", "severity": None}
            mean = {"condition": "corrupted", "metric": "mean_corruption_error", "value": error}
            yield {**accuracy, **mean}
            yield {**accuracy, "condition": "corrupted", "value": 1 - error}
            yield {**accuracy, "condition": "clean", "value": 1 - error / 10}
            for kind in kinds:
                yield {**accuracy, "condition": kind, "value": 1 - error}
                for severity in severities:
                    yield {**accuracy, "condition": kind, "severity": severity, "value": 1 - error}


ERRORS = {"cross_entropy": [0.26, 0.28, 0.27], "hug": [0.24, 0.25, 0.26]}


def shown(records, width=100) -> str:
    given = list(records)
    given += corruption_rows(given, "cross_entropy")
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_table(compare_records(given, "cross_entropy")))
    return console.export_text()


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("width", [80, 100])
def test_error_verdict_ratios_and_families(width: int) -> None:
    text = shown(rows(KINDS, ERRORS), width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "cifar10 · resnet18 · standard" in words
    # means 27 and 25, std 1 each, t 4.3027, half-width 2.48; differences -2, -3, -1
    assert "hug 25.00 ± 2.48 -2.00 [-4.48, +0.48] 0.074 undecided" in lines(text)
    # ratios 24/26, 25/28, 26/27: mean 92.63; clean errors are a tenth, so relative ratios are the same
    assert "hug 97.50 ± 0.25 92.63 ± 8.74 92.63 ± 8.74" in lines(text)
    assert "cross_entropy 97.30 ± 0.25 100.00 ± 0.00 100.00 ± 0.00" in lines(text)
    assert "criterion noise % blur % weather % digital %" in lines(text)
    assert f"hug {' '.join(['75.00 ± 2.48'] * 4)}" in lines(text)
    assert "10,000 test images; seeds 0, 1, 2." in words
    assert "over the 15 corruptions of CIFAR-C at severities 1 to 5." in words


def test_few_kinds_have_a_column_each_and_the_caption_says_what_is_missing() -> None:
    text = shown(rows(("fog", "snow"), ERRORS, severities=(3,)))
    assert "criterion fog % snow %" in lines(text)
    words = " ".join(text.split())
    assert "over only fog, snow (not the 15 corruptions of CIFAR-C) at only severity 3." in words
    assert "noise" not in words


def test_frequent_and_rare_classes_are_told_apart() -> None:
    rare = {name: [2 * error for error in errors] for name, errors in ERRORS.items()}
    records = [*rows(KINDS, ERRORS), *rows(KINDS, ERRORS, "many"), *rows(KINDS, rare, "few")]
    text = lines(shown(records))
    assert "criterion error on many % error on few %" in text
    assert "hug 25.00 ± 2.48 50.00 ± 4.97" in text


def test_of_a_stream_the_end_is_shown() -> None:
    worse = {name: [error + 0.5 for error in errors] for name, errors in ERRORS.items()}
    records = [*rows(KINDS, worse, experience=1), *rows(KINDS, ERRORS, experience=2)]
    text = lines(shown(records))
    assert sum(line.startswith("hug 25.00 ± 2.48 -2.00") for line in text) == 1
    assert not any("75.00 ± 2.48 -2.00" in line for line in text)


def test_a_ratio_that_is_undefined_is_a_dash_that_is_explained() -> None:
    flawless = {**ERRORS, "cross_entropy": [0.0, 0.0, 0.0]}
    text = shown(rows(KINDS, flawless))
    assert "hug 97.50 ± 0.25 - -" in lines(text)
    assert "No ratio where cross_entropy has no error" in " ".join(text.split())
    assert "No ratio" not in shown(rows(KINDS, ERRORS))


def test_without_corruption_nothing_of_it_is_told() -> None:
    plain = [{**row, "evaluation": "accuracy"} for row in rows((), ERRORS) if row["condition"] == "clean"]
    assert "orruption" not in shown(plain)
