"""Tables as they are printed: the right numbers, within the width, in plain text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from hugbench.reporting.tables import duration, metric_value, records_table, simple_table
from hugbench.reporting.terminal import MOST_NOTES, comparison_table, outcome_report
from hugbench.results.comparison import Comparison, compare_records

Values = Mapping[str, Mapping[int, float | None]]

ACCURACY = {
    "cross_entropy": {0: 0.90, 1: 0.91, 2: 0.92},
    "hug": {0: 0.93, 1: 0.95, 2: 0.95},
    "hug[recipe.lr=0.1]": {0: 0.905, 1: 0.9, 2: 0.93},
}
NLL = {name: {seed: 0.31 + 0.02 * seed for seed in values} for name, values in ACCURACY.items()}
OTHERS = ("top5_accuracy", "nearest_class_mean_accuracy", "expected_calibration_error")


def printed(renderable: RenderableType, width: int = 100, **options: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(renderable)
    return stream.getvalue()


def records(values: Values, metric: str = "accuracy", **changes: Any) -> list[dict[str, Any]]:
    place = {
        "dataset": "digits",
        "backbone": "test_resnet",
        "protocol": "standard",
        "variant": "",
        "evaluation": "accuracy",
        "metric": metric,
        "condition": "clean",
        "severity": None,
        "experience": None,
        "epoch": None,
        "subset": "all",
        "n": 360,
    }
    return [
        {"run_id": f"{name}-{seed:010d}", "criterion": name, "seed": seed, "value": value, **place, **changes}
        for name, found in values.items()
        for seed, value in found.items()
    ]


def full(values: Values, **changes: Any) -> list[dict[str, Any]]:
    """Accuracy and every secondary metric."""
    rows = records(values, **changes) + records(NLL, "negative_log_likelihood", **changes)
    return rows + [row for metric in OTHERS for row in records(values, metric, **changes)]


def compared(values: Values, **options: Any) -> Comparison:
    return compare_records(records(values), "cross_entropy", **options)


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def words(text: str) -> str:
    """Without line breaks and padding."""
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_holds_the_numbers_within_the_width(width: int) -> None:
    text = printed(comparison_table(compare_records(full(ACCURACY), "cross_entropy")), width)
    assert max(map(len, text.splitlines())) <= width
    hug = line_of(text, "hug ")
    # by hand: std of 93, 95, 95 is 1.1547, t = 4.3027, half-width 2.868; differences 3, 4, 3
    assert "94.33 ± 2.87" in hug
    assert "+3.33 [+1.90, +4.77]" in hug
    assert "0.010" in hug
    assert hug.rstrip().endswith("better")
    assert "91.00 ± 2.48" in line_of(text, "cross_entropy")
    assert line_of(text, "cross_entropy").rstrip().endswith("baseline")
    assert text.count("0.330 ± 0.050") == 3  # negative log-likelihood: a number, not per cent
    assert "360 test images; seeds 0, 1, 2." in words(text)
    assert "95 % Student t-intervals" in words(text)
    assert "The exact sign-flip test cannot go below p = 0.25 with 3 seeds." in words(text)


def test_labels_with_brackets_are_no_markup() -> None:
    text = printed(comparison_table(compared(ACCURACY)))
    assert line_of(text, "hug[recipe.lr=0.1]").rstrip().endswith("undecided")


def test_a_pipe_gets_neither_colour_nor_control_characters() -> None:
    text = printed(comparison_table(compared(ACCURACY)))
    assert "\x1b" not in text
    assert "\r" not in text
    coloured = printed(comparison_table(compared(ACCURACY)), force_terminal=True, color_system="standard")
    assert "\x1b[" in coloured


def test_two_seeds_are_said_to_be_too_few() -> None:
    values = {name: {0: found[0], 1: found[1]} for name, found in ACCURACY.items()}
    text = printed(comparison_table(compared(values)))
    assert line_of(text, "hug ").rstrip().endswith("not testable")
    assert "Not testable with 2 seeds." in words(text)
    assert " p " not in line_of(text, "criterion")
    assert "paired t-test" not in text


def test_one_seed_has_no_interval() -> None:
    text = printed(comparison_table(compared({name: {0: found[0]} for name, found in ACCURACY.items()})))
    assert words(line_of(text, "hug ")) == "hug 93.00 +3.00 not testable"
    assert "360 test images; seed 0. No interval and no test with 1 seed." in words(text)
    assert "±" not in text


def test_what_is_missing_is_seen() -> None:
    values = {**ACCURACY, "hug": {0: 0.93, 2: None}}
    criteria = ["cross_entropy", "hug", "nonl"]
    text = printed(comparison_table(compared(values, criteria=criteria)))
    assert words(line_of(text, "hug ")).startswith("hug 1/3 93.00 +3.00")
    assert words(line_of(text, "nonl")) == "nonl 0/3 - no result"
    assert "hug: nothing for seed 1. hug: not a finite number for seed 2." in words(text)
    assert "hug: no interval and no test with 1 seed." in words(text)
    assert "nonl: nothing" not in words(text)


def test_a_narrow_terminal_loses_nothing() -> None:
    text = printed(comparison_table(compare_records(full(ACCURACY), "cross_entropy")), 56)
    assert max(map(len, text.splitlines())) <= 56
    for piece in ("94.33 ±", "2.87", "+3.33", "[+1.90,", "+4.77]", "0.010", "better", "0.330", "0.050"):
        assert piece in text


def test_equal_differences_are_explained() -> None:
    shifted = {seed: value + 0.02 for seed, value in ACCURACY["cross_entropy"].items() if value}
    text = printed(comparison_table(compared({"cross_entropy": ACCURACY["cross_entropy"], "hug": shifted})))
    assert words(line_of(text, "hug ")).endswith("+2.00 [+2.00, +2.00] 0.250 not testable")
    assert "The same difference on every seed: its variance is zero and t undefined;" in words(text)


def test_not_one_number_is_said() -> None:
    text = printed(comparison_table(compared({"cross_entropy": {0: None}})))
    assert "no seed with a number. cross_entropy: not a finite number for seed 0." in words(text)


def test_a_failed_baseline_is_said_and_the_rest_shown() -> None:
    comparison = compared({"hug": ACCURACY["hug"]}, criteria=["cross_entropy", "hug"])
    text = printed(comparison_table(comparison))
    assert "94.33 ± 2.87" in line_of(text, "hug")
    assert line_of(text, "hug").rstrip().endswith("no baseline")
    assert "Note: no run of the baseline cross_entropy is finished for digits" in words(text)


def test_a_tiny_p_is_not_shown_as_zero() -> None:
    values = {"cross_entropy": dict.fromkeys(range(8), 0.5), "hug": {s: 0.9 + 1e-4 * s for s in range(8)}}
    assert "<0.001" in line_of(printed(comparison_table(compared(values))), "hug")


def test_one_table_for_each_variant_and_subset_asked_for() -> None:
    rows = full(ACCURACY) + full(ACCURACY, variant="recipe.lr=0.1") + full(ACCURACY, subset="class:3")
    comparison = compare_records(rows, "cross_entropy")
    text = printed(comparison_table(comparison))
    assert text.count("minus cross_entropy") == 2
    assert line_of(text, "digits · test_resnet · standard · recipe.lr=0.1")
    both = printed(comparison_table(comparison, subsets=("all", "class:3")))
    assert both.count("minus cross_entropy") == 3
    assert line_of(both, "digits · test_resnet · standard · class:3")


def test_many_medium_and_few_have_a_table_where_they_are_told_apart() -> None:
    few = {name: {seed: value - 0.5 for seed, value in found.items()} for name, found in ACCURACY.items()}
    rows = full(ACCURACY) + records(ACCURACY, subset="many") + records(few, subset="few")
    text = printed(comparison_table(compare_records(rows, "cross_entropy")), 80)
    assert max(map(len, text.splitlines())) <= 80
    header = next(line for line in text.splitlines() if "many %" in line)
    assert words(header) == "criterion many % few %"
    table = text[text.index(header) :]
    assert words(line_of(table, "cross_entropy")) == "cross_entropy 91.00 ± 2.48 41.00 ± 2.48"
    assert text.count("minus cross_entropy") == 1
    assert "few: classes with more than 100, 20 to 100, under 20 training images." in words(text)
    plain = printed(comparison_table(compare_records(full(ACCURACY), "cross_entropy")), 80)
    assert "many" not in plain


def test_corrupted_images_are_not_shown_as_clean() -> None:
    rows = records({"cross_entropy": {0: 0.1234}}, condition="fog", severity=3)
    text = printed(comparison_table(compare_records(rows, "cross_entropy")))
    assert "12.34" not in text
    assert "nothing to compare" in text


COLLAPSE = {
    "within_class_variability": {
        "cross_entropy": {0: 0.011, 1: 0.012, 2: 0.013},
        "hug": {0: 123.4, 1: 123.4},
    },
    "nearest_class_centre_agreement": {"cross_entropy": {0: 0.97, 1: 0.98, 2: 0.99}, "hug": {0: 0, 1: 0}},
    "inter_energy_bound_ratio": {"cross_entropy": {0: 2.5e6}, "hug": {0: 1.0, 1: 1.001}},
    "equinorm_variation": {"cross_entropy": {0: 0.5}},
}


def collapse(**changes: Any) -> list[dict[str, Any]]:
    place = {"evaluation": "collapse", "subset": "train", **changes}
    return [row for metric, values in COLLAPSE.items() for row in records(values, metric, **place)]


def test_collapse_stands_below_the_accuracy_of_the_same_models() -> None:
    rows = [
        *full(ACCURACY),
        *collapse(),
        *collapse(subset="test"),
        *collapse(variant="model.embedding_dim=2"),
    ]
    rows += records(COLLAPSE["within_class_variability"], "within_class_variability", subset="proxies")
    text = printed(
        comparison_table(compare_records(rows, "cross_entropy", criteria=["cross_entropy", "hug", "nonl"]))
    )
    assert max(map(len, text.splitlines())) <= 100
    lines = text.splitlines()
    first, second = lines.index("collapse · training images"), lines.index("collapse · test images")
    other = lines.index("digits · test_resnet · standard · model.embedding_dim=2")
    assert first < second < other
    assert words(lines[first + 1]) == "criterion NC1 NC4 % inter / bound"
    # by hand: std .001, t 4.3027, half-width .0025; no interval with one seed
    assert words(lines[first + 3]) == "cross_entropy 0.0120 ± 0.0025 98.0 ± 2.5 2.50e+06"
    assert words(lines[first + 4]) == "hug 123 ± 0 0.00 ± 0.00 1.0005 ± 0.0064"
    assert words(lines[first + 5]) == "nonl - - -"
    assert text.count("collapse · training images") == 2
    assert text.count("NC1: spread within classes") == 2
    assert "equinorm" not in text


def test_collapse_asked_twice_is_told_apart_and_moments_are_left_out() -> None:
    labels = ["collapse(splits=train)", "collapse(splits=both)", "collapsed"]
    rows = [row for label in labels for row in collapse(evaluation=label)]
    before = collapse(epoch=3)
    text = printed(comparison_table(compare_records([*rows, *before], "cross_entropy")))
    assert text.count("· training images") == 2
    assert line_of(text, "collapse(splits=both) · training images")


def test_of_a_stream_the_collapse_after_its_last_experience_is_shown() -> None:
    rows = [row for experience in (1, 2, 3) for row in collapse(experience=experience)]
    rows = [{**row, "value": 0.25 * row["experience"]} for row in rows if row["seed"] == 0]
    text = printed(comparison_table(compare_records(rows, "cross_entropy")))
    assert words(line_of(text, "hug ")) == "hug 0.750 75.0 0.7500"
    assert text.count("· training images") == 1


def report(comparison: Comparison, failed: Mapping[str, str], notes: list[str], folder: str) -> str:
    stream = io.StringIO()
    outcome_report(comparison, failed, notes, Path(folder), Console(file=stream, width=80))
    return stream.getvalue()


def test_the_report_ends_with_the_folder_in_one_piece() -> None:
    folder = "/home/somebody/" + "a-long-name/" * 8 + "results"
    text = report(compared(ACCURACY), {}, ["hug (seed 0): temperature 0.05"], folder)
    assert text.splitlines()[-1] == f"Everything lies in {folder}"
    assert "Note: hug (seed 0): temperature 0.05" in text
    assert "failed" not in text


def test_the_report_names_the_pictures_in_one_piece() -> None:
    stream, picture = io.StringIO(), Path("results") / ("long" * 30) / "collapse.svg"
    outcome_report(compared(ACCURACY), {}, [], Path("results"), Console(file=stream, width=80), [picture])
    assert stream.getvalue().splitlines()[-2] == f"Picture: {picture}"


def test_the_report_names_failed_runs_and_their_errors() -> None:
    failed = {"hug-0123456789": "NonFiniteLoss: the training loss is not finite [step 12]"}
    text = report(compare_records([], "cross_entropy"), failed, [], "results")
    assert "No run is finished: there is nothing to compare yet." in text
    assert "1 run failed:" in text
    assert "hug-0123456789   NonFiniteLoss: the training loss is not finite [step 12]" in text


def test_many_notes_are_cut_short_and_counted() -> None:
    text = report(compared(ACCURACY), {}, [f"note {k}." for k in range(MOST_NOTES + 3)], "results")
    assert f"note {MOST_NOTES - 1}." in text
    assert f"note {MOST_NOTES}." not in text
    assert "... and 3 notes more; --json has all" in text


def test_records_say_once_what_is_the_same() -> None:
    text = printed(records_table(records({"hug": {0: 0.9333333333, 1: None}})), 80)
    assert "criterion hug, dataset digits" in text
    assert "severity" not in text
    table = text[text.index("seed ") :].splitlines()
    assert [line.split() for line in table[2:4]] == [["0", "0.933333", "360"], ["1", "360"]]
    assert printed(records_table([])).strip() == "no records yet"


@pytest.mark.parametrize("width", [40, 80])
def test_simple_tables_lose_nothing_when_narrow(width: int) -> None:
    long = "x" * 55
    text = printed(simple_table("Runs", ["run", "n", "error"], [["hug-0123456789", 3, long]]), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("x") == 55
    assert "hug-0123456789" in text
    assert text.splitlines()[0].strip() == "Runs"


def test_simple_tables_take_cells_literally() -> None:
    text = printed(simple_table("", ["name", ""], [["[bold]a[/bold]", None], ["b", 3]]))
    assert "[bold]a[/bold]" in text
    assert "None" not in text
    assert printed(simple_table("", ["", ""], [["python", "3.11"]])).strip() == "python   3.11"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7530, "2 h 06 min"),
    ],
)
def test_durations_read_as_one_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.97222, "97.22 %"),
        ("expected_calibration_error", 0.0312, "3.12 %"),
        ("negative_log_likelihood", 2.302585, "2.303"),
        ("temperature", 0.05, "0.05"),
    ],
)
def test_fractions_become_per_cent_in_reports_only(metric: str, value: float, text: str) -> None:
    assert metric_value(metric, value) == text


def test_accuracy_asked_twice_is_a_table_each() -> None:
    labels = ["accuracy(split=test)", "accuracy(split=validation)"]
    values = {"cross_entropy": {0: 0.9, 1: 0.8}}
    rows = [row for label in labels for row in records(values, evaluation=label)]
    text = printed(comparison_table(compare_records(rows, "cross_entropy")))
    for label in labels:
        assert text.count(f"· {label}\n") == 1
    assert text.count("360 test images") == text.count("360 held-out training images") == 1
