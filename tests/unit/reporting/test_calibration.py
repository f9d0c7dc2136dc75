"""The tables of calibration: the right cell in the right row, within the width."""

from __future__ import annotations

from hugbench.reporting.terminal import comparison_table
from hugbench.results.comparison import Comparison, compare_records
from tests.unit.reporting.test_terminal import full, printed, records

SEEDS = (0, 1, 2)
ARMS = {"cross_entropy": 0.1, "hug": 0.2}
PLACES = {("clean", None): 0.0, ("corrupted", 1): 0.01, ("corrupted", 5): 0.05, ("fog", 5): 0.5}


def rows(calibrated: bool = True, **changes):
    found = []
    for (condition, severity), more in PLACES.items():
        for suffix, factor in (("", 1.0), ("_calibrated", 0.5)):
            for metric, scale in (("expected_calibration_error", 1), ("negative_log_likelihood", 10)):
                values = {
                    name: dict.fromkeys(SEEDS, scale * (base + more) * (1 if name == "hug" else factor))
                    for name, base in ARMS.items()
                }
                place = {"evaluation": "calibration", "condition": condition, "severity": severity, **changes}
                if calibrated or not suffix:
                    found += records(values, f"{metric}{suffix}", **place)
    if calibrated:
        temperatures = {"cross_entropy": dict.fromkeys(SEEDS, 1.234), "hug": dict.fromkeys(SEEDS, 0.05)}
        found += records(temperatures, "temperature", **{"evaluation": "calibration", **changes})
    return found


def table(found, width: int = 100) -> list[str]:
    return printed(comparison_table(compare_records(found, "cross_entropy")), width).splitlines()


def cells(lines: list[str], title: str) -> list[list[str]]:
    start = lines.index(title) + 3
    end = next(number for number in range(start, len(lines)) if not lines[number].strip())
    return [line.split() for line in lines[start:end]]


def test_before_and_after_the_temperature_clean_and_corrupted():
    lines = table(rows())
    plus = ["±", "0.00"]
    assert cells(lines, "calibration · expected calibration error %") == [
        ["cross_entropy", "as", "is", "10.00", *plus, "11.00", *plus, "15.00", *plus],
        ["cross_entropy", "at", "T", "=", "1.23", "5.00", *plus, "5.50", *plus, "7.50", *plus],
        ["hug", "at", "T", "=", "0.05", "20.00", *plus, "21.00", *plus, "25.00", *plus],
    ]
    assert [row[0] for row in cells(lines, "calibration · negative log-likelihood")] == [
        "cross_entropy",
        "cross_entropy",
        "hug",
    ]
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    assert "360 test images. Seeds 0, 1, 2. ±: 95 % Student t-intervals over seeds." in text


def test_without_a_temperature_everything_is_as_it_is():
    found = cells(table(rows(calibrated=False)), "calibration · expected calibration error %")
    assert [row[:3] for row in found] == [["cross_entropy", "as", "is"], ["hug", "as", "is"]]


def test_it_stands_below_the_accuracy_of_the_same_models():
    lines = table(full({name: dict.fromkeys(SEEDS, 0.9) for name in ARMS}) + rows())
    assert lines.index("digits · test_resnet · standard") < lines.index(
        "calibration · negative log-likelihood"
    )
    assert lines.count("digits · test_resnet · standard") == 1


def test_only_the_end_of_a_stream_is_shown():
    lines = table(rows(experience=1) + [{**row, "value": 2 * row["value"]} for row in rows(experience=2)])
    assert cells(lines, "calibration · expected calibration error %")[0][3] == "20.00"


def test_accuracy_alone_is_no_table():
    found = records({"hug": {0: 0.9}}, "accuracy", evaluation="calibration")
    assert "calibration" not in " ".join(table(found))
    assert isinstance(compare_records(found, "hug"), Comparison)
