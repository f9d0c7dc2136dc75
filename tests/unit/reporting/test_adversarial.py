"""The tables of robust accuracy: numbers, differences, verdicts and what the cards say."""

from __future__ import annotations

import pytest

from hugbench.reporting.terminal import comparison_table
from hugbench.results.comparison import compare_records
from tests.unit.reporting.test_terminal import ACCURACY, full, line_of, printed, records, words

EPS = ("0.5/255", "1/255", "2/255")
ROBUST = {"cross_entropy": {0: 0.40, 1: 0.41, 2: 0.42}, "hug": {0: 0.43, 1: 0.45, 2: 0.45}}


def robust(label="standard", verdicts=None, evaluation="adversarial", values=ROBUST, **changes):
    rows = records(values, "accuracy", evaluation=evaluation, **changes)
    for place, eps in enumerate(EPS):
        at = {
            arm: {seed: value - 0.1 * place for seed, value in found.items()} for arm, found in values.items()
        }
        rows += records(
            at, "robust_accuracy", evaluation=evaluation, condition=f"{label} Linf {eps}", **changes
        )
    for row in rows:
        if row["metric"] == "robust_accuracy":
            key = row["criterion"], row["seed"], row["condition"].rsplit(" ", 1)[1]
            row["reliability"] = (verdicts or {}).get(key, "PASS")
    return rows


def shown(rows, width=100):
    text = printed(comparison_table(compare_records(rows, "cross_entropy")), width)
    assert max(map(len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", [80, 100])
def test_numbers_and_differences_at_every_eps(width):
    text = shown([*full(ACCURACY), *robust()], width)
    assert words(line_of(text, "adversarial")) == "adversarial · standard, Linf · 360 images"
    lines = text.splitlines()
    table = lines[lines.index(line_of(text, "adversarial")) + 1 :]
    if width == 100:
        assert words(table[0]) == "criterion clean % 0.5/255 % 1/255 % 2/255 % card"
        # by hand: std 1, t 4.3027, half-width 2.48; std of 43, 45, 45 is 1.1547, half-width 2.87
        assert words(table[2]) == ("cross_entropy 41.00 ± 2.48 41.00 ± 2.48 31.00 ± 2.48 21.00 ± 2.48 PASS")
        assert words(table[3]).startswith("hug 44.33 ± 2.87 44.33 ± 2.87 34.33 ± 2.87 24.33")
        assert words(table[6]) == "minus cross_entropy 0.5/255 1/255 2/255"
        # differences 3, 4, 3: std 0.577, half-width 1.43
        assert words(table[8]) == "hug +3.33 ± 1.43 better +3.33 ± 1.43 better +3.33 ± 1.43 better"
    assert "an upper bound" in words(text)


def test_an_unreliable_figure_is_named_and_not_judged():
    verdicts = {("hug", 1, "1/255"): "FAIL", ("cross_entropy", 0, "2/255"): "WARN"}
    text = shown(robust(verdicts=verdicts))
    table = text[: text.index("minus")]
    assert line_of(table, "hug").rstrip().endswith("unreliable")
    assert line_of(table, "cross_entropy").rstrip().endswith("WARN")
    differences = line_of(text[text.index("minus") :], "hug")
    assert words(differences) == "hug +3.33 ± 1.43 better +3.33 ± 1.43 unreliable +3.33 ± 1.43 better"


def test_single_attacks_have_numbers_and_only_the_worst_case_is_judged():
    rows = [*robust("worst case"), *robust("pgd(steps=5)"), *robust("fgsm")]
    text = shown(rows)
    for label in ("worst case", "pgd(steps=5)", "fgsm"):
        assert text.count(f"adversarial · {label}, Linf") == 1
    assert text.count("minus cross_entropy") == 1
    assert text.index("minus cross_entropy") < text.index("pgd(steps=5)")


def test_one_attack_alone_is_judged():
    assert "minus cross_entropy" in shown(robust("fgsm"))


def test_evaluations_asked_twice_are_told_apart():
    labels = ["adversarial(attack=screen)", "adversarial(attack=standard)"]
    rows = [row for label in labels for row in robust(evaluation=label)]
    text = shown(rows)
    assert all(line_of(text, label) for label in labels)
    assert text.count("Robust accuracy: images") == 1


def test_of_a_stream_the_last_experience_is_shown_and_no_earlier_moment():
    rows = [row for number in (1, 2) for row in robust(experience=number)]
    for row in rows:
        row["value"] /= 3 - row["experience"]
    text = shown([*rows, *robust(epoch=3)])
    assert text.count("adversarial · standard") == 1
    assert "44.33 ± 2.87" in text


def test_one_seed_and_no_value_leave_gaps():
    values = {"cross_entropy": {0: 0.4}, "hug": {0: 0.5}}
    text = shown([*robust(values=values), *records({"nonl": {0: 0.4}})])
    assert "hug 50.00 50.00 40.00 30.00 PASS" in words(text)
    assert "nonl - - - -" in words(text)
    assert "hug +10.00 not testable" in words(text)


def test_a_single_criterion_is_compared_with_nothing():
    assert "minus" not in shown(robust(values={"cross_entropy": {0: 0.4, 1: 0.5}}))
