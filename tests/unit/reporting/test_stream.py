"""What the terminal tells of a class-incremental stream."""

from __future__ import annotations

import io

from rich.console import Console

from hugbench.reporting.terminal import comparison_table
from hugbench.results.comparison import compare_records

PLACE = {
    "dataset": "digits",
    "backbone": "tiny",
    "protocol": "continual naive",
    "variant": "",
    "evaluation": "accuracy",
    "condition": "clean",
    "severity": None,
    "epoch": None,
}


def rows(criterion: str, shift: float):
    """Two experiences, two seeds."""
    for seed in (0, 1):
        for experience, value in ((0, 0.1), (1, 0.9), (2, 0.5)):
            own = {"criterion": criterion, "seed": seed, "experience": experience, "n": 40, **PLACE}
            yield {**own, "metric": "accuracy", "subset": "all", "value": value + shift}
            if experience:
                yield {**own, "metric": "accuracy", "subset": "seen", "value": value + shift}
        for metric, value in (("forgetting", 0.4), ("average_incremental_accuracy", 0.7)):
            yield {**own, "metric": metric, "subset": "all", "value": value + shift}


def shown(records) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison_table(compare_records(records, "a")))
    return console.export_text()


def test_the_last_experience_the_numbers_and_every_experience_are_shown() -> None:
    text = shown([*rows("a", 0.0), *rows("b", 0.05)])
    assert text.count("digits · tiny · continual naive") == 1
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "b 55.00 ± 0.00 +5.00 [+5.00, +5.00] not testable" in lines
    assert "b 75.00 ± 0.00 45.00 ± 0.00" in lines
    assert "criterion seen after 1 seen after 2" in lines
    assert "a 90.00 ± 0.00 50.00 ± 0.00" in lines
    assert text.count("Average incremental: mean") == 1


def test_outside_a_stream_nothing_of_it_is_told() -> None:
    plain = [{**row, "experience": None} for row in rows("a", 0.0) if row["experience"] == 0]
    text = shown(plain)
    assert "forgetting" not in text
    assert "seen after" not in text
