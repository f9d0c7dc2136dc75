"""The page: whole, self-contained, escaped, with the comparison's numbers, whatever is missing."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hugbench.reporting.html.elements import Section
from hugbench.reporting.html.material import Material
from hugbench.reporting.html.page import page
from hugbench.reporting.sheets import sentence, sheets
from hugbench.reports import report
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import make_plan
from tests.unit.reporting.html.make import SUITE, Answer, Row, accuracy, finish, level, material, row, suite
from tests.unit.reporting.html.read import Page

KINDS = ("gaussian_noise", "fog")
SEVERITIES = (1, 3, 5)
EPS = ("0.5/255", "1/255", "2/255")
SETS = ("near", "far", "synthetic")


def corruption(criterion: str, seed: int) -> list[Row]:
    value = level(criterion, seed)
    cells = [
        row("accuracy", value - 0.05 * severity - 0.02 * place, condition=kind, severity=severity)
        for place, kind in enumerate(KINDS)
        for severity in SEVERITIES
    ]
    mean = sum(cell["value"] for cell in cells) / len(cells)
    return [
        row("mean_corruption_error", 1 - mean, condition="corrupted"),
        row("accuracy", value),
        *cells,
        *(row("accuracy", value - 0.2, condition=kind) for kind in KINDS),
    ]


def adversarial(criterion: str, seed: int) -> list[Row]:
    value, failed = level(criterion, seed), criterion == "hug"
    return [
        *(
            row(
                "robust_accuracy",
                value * (1 - 0.3 * place),
                100,
                condition=f"standard Linf {eps}",
                reliability="FAIL" if failed and eps == "2/255" else "PASS",
            )
            for place, eps in enumerate(EPS, 1)
        ),
        row("accuracy", value, 100),
    ]


def cards(criterion: str, seed: int) -> Row:
    def check(name: str, verdict: str) -> Row:
        return {"name": name, "verdict": verdict, "value": 0.07, "threshold": 0.005, "told": f"{name} <told>"}

    return {
        "cards": [
            {
                "norm": "Linf",
                "eps": eps,
                "images": 100,
                "verdict": (verdict := "FAIL" if criterion == "hug" and eps == "2/255" else "PASS"),
                "checks": [check("zero_gradients", verdict), check("square", "SKIP")],
            }
            for eps in EPS
        ]
    }


def calibration(criterion: str, seed: int) -> list[Row]:
    error = 0.2 * (1 - level(criterion, seed))
    rows = []
    for suffix in ("", "_calibrated"):
        name = f"expected_calibration_error{suffix}"
        rows += [row(name, error), row(name, 2 * error, condition="corrupted")]
        rows += [
            row(name, error * severity, condition="corrupted", severity=severity) for severity in SEVERITIES
        ]
    return [*rows, row("temperature", 1.5, 50)]


def diagrams(criterion: str, seed: int) -> Row:
    bins = {"counts": [0, 100, 260], "confidences": [0, 0.5, 0.9], "accuracies": [0, 0.4, 0.95]}
    return {
        "diagrams": [
            {
                "condition": "clean",
                "severity": None,
                "calibrated": kind,
                "equal_width": bins,
                "equal_mass": bins,
            }
            for kind in (False, True)
        ]
    }


def ood(criterion: str, seed: int) -> list[Row]:
    return [
        row(f"{score}.{metric}", level(criterion, seed), 720, condition=kind)
        for kind in SETS
        for score in ("msp", "energy", "knn")
        for metric in ("auroc", "fpr_at_95_tpr")
    ]


def collapse(criterion: str, seed: int) -> list[Row]:
    return [
        row(metric, 0.1 + level(criterion, seed), 600, subset=split)
        for split in ("train", "test")
        for metric in ("within_class_variability", "simplex_etf_error", "nearest_class_centre_agreement")
    ]


def own(criterion: str, seed: int) -> list[Row]:
    return [row("<sharpness>", 10 * level(criterion, seed))]


ANSWERS = {
    "accuracy": accuracy,
    "corruption": corruption,
    "adversarial": adversarial,
    "calibration": calibration,
    "ood": ood,
    "collapse": collapse,
    "own": own,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Material:
    details = {"adversarial": cards, "calibration": diagrams}
    return material(tmp_path_factory.mktemp("whole"), ANSWERS, details)


@pytest.fixture(scope="module")
def html(made: Material) -> str:
    return page(made, now=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))


@pytest.fixture(scope="module")
def whole(html: str) -> Page:
    return Page(html)


def row_of(found: Page, *start: str) -> list[str]:
    return next(cells for cells in found.rows if cells[: len(start)] == list(start))


def test_every_part_is_there_and_in_the_contents(whole: Page) -> None:
    for part in (
        "verdict",
        "accuracy",
        "frequent-and-rare-classes",
        "robust-accuracy",
        "corruption",
        "calibration",
        "out-of-distribution-detection",
        "other-evaluations",
        "geometry-of-the-features",
        "training",
        "method",
        "runs",
        "machines-and-versions",
        "suite",
    ):
        assert part in whole.ids
        assert whole.links.count(f"#{part}") == 2
    assert len(whole.ids) == len(set(whole.ids))
    assert {link for link in whole.links if link[1:] not in whole.ids} == set()


def test_nothing_is_loaded_from_anywhere_and_nothing_runs(whole: Page, html: str) -> None:
    assert [address for address in whole.resources if not address.startswith("data:")] == []
    assert all(link.startswith("#") for link in whole.links)
    assert "script" not in whole.tags
    assert "@import" not in html
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_every_drawing_is_well_formed_and_told(whole: Page) -> None:
    figures = [root for root in whole.drawings if root.get("role") == "img"]
    assert len(figures) > 20
    for root in figures:
        assert root[0].tag.endswith("title")
        assert root[0].text
        assert root[1].tag.endswith("desc")
    assert all(root.get("aria-hidden") == "true" for root in whole.drawings if root.get("role") != "img")
    assert whole.tags["figure"] == whole.text.count("the numbers as a table")


def test_the_numbers_are_those_of_the_comparison(made: Material, whole: Page) -> None:
    told = {line.strip() for line in whole.text.splitlines()}
    everything = " ".join(" ".join(told).split())
    for line in made.report.contrasts:
        if line.primary and line.verdict != "baseline":
            assert sentence(line) in everything
    main = next(
        q for q in made.numbers.rows if (q.evaluation, q.metric, q.subset) == ("accuracy", "accuracy", "all")
    )
    sheet = made.numbers.sheet(made.numbers.rows[main])
    assert sheet in sheets(made.report)
    for cells in sheet.rows:
        assert row_of(whole, *cells[:-1])[-1].endswith(cells[-1])
    # by hand: level of hug at seeds 0, 1, 2
    values = [0.88 + 0.005 * math.sin(3 * seed + 1) for seed in (0, 1, 2)]
    assert row_of(whole, "hug", mean_and_half(values), *(f"{100 * value:.2f}" for value in values))


def mean_and_half(values: list[float]) -> str:
    """Of three seeds; 4.303 is the 97.5 % quantile of t with 2 degrees of freedom."""
    mean = sum(values) / 3
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
    return f"{100 * mean:.2f} ± {100 * 4.302652729911275 * spread / math.sqrt(3):.2f}"


def test_robust_accuracy_says_which_figures_cannot_be_relied_on(whole: Page, html: str) -> None:
    assert "Unreliable, drawn hollow and not judged: hug at 2/255" in whole.text
    assert row_of(whole, "hug", "3 PASS", "3 PASS", "3 FAIL")
    check = row_of(whole, "hug", "2/255", "zero gradients")
    assert check == [
        "hug",
        "2/255",
        "zero gradients",
        "FAIL",
        "0, 1, 2",
        "0.07",
        "0.005",
        "zero_gradients <told>",
    ]
    assert 'fill="var(--paper)"' in html
    assert row_of(whole, "cross_entropy", "3 PASS", "3 PASS", "3 PASS")
    assert any("✕ unreliable" in cells[-1] for cells in whole.rows if cells and cells[0] == "hug")


def test_only_the_figure_that_failed_is_hollow_when_it_is_the_baselines(tmp_path: Path) -> None:
    def answer(criterion: str, seed: int) -> list[Row]:
        verdict = "FAIL" if criterion == "cross_entropy" and seed == 1 else "PASS"
        value = level(criterion, seed)
        return [row("robust_accuracy", value, 100, condition="standard Linf 1/255", reliability=verdict)]

    made = material(tmp_path, {"adversarial": answer})
    lines = {line.criterion: line for line in made.report.contrasts}
    assert {name: line.own_reliability for name, line in lines.items()} == {
        "cross_entropy": "FAIL",
        "hug": "PASS",
        "normface": "PASS",
    }
    assert lines["hug"].verdict == lines["normface"].verdict == "unreliable"
    text = Page(page(made)).text
    assert "Unreliable, drawn hollow and not judged: cross_entropy at 1/255." in text
    assert "cross_entropy: the figure's own checks say FAIL." in text


def test_corruption_is_shown_as_the_difference_to_the_baseline(made: Material, whole: Page) -> None:
    assert "hug minus cross_entropy" in whole.text
    assert row_of(whole, "fog", "hug")[2].startswith(f"{100 * (level_mean('hug') - 0.07):.2f}")


def level_mean(criterion: str) -> float:
    return sum(level(criterion, seed) for seed in (0, 1, 2)) / 3


def test_a_reliability_diagram_tells_how_far_confidence_is_off(whole: Page) -> None:
    # by hand: (100 (0.5 - 0.4) + 260 (0.9 - 0.95)) / 360 = -0.83 points, the same in every seed
    assert row_of(whole, "hug", "at T", "3")[-1] == "-0.8 to -0.8"


def test_an_evaluation_of_ones_own_is_shown_and_escaped(whole: Page, html: str) -> None:
    assert "own: <sharpness>" in whole.text
    assert "<sharpness>" not in html


def test_parts_that_a_suite_lacks_are_left_out(tmp_path: Path) -> None:
    found = Page(page(material(tmp_path, {"accuracy": lambda c, s: [row("accuracy", level(c, s))]})))
    assert "accuracy" in found.ids
    for part in (
        "corruption",
        "robust-accuracy",
        "calibration",
        "frequent-and-rare-classes",
        "class-incremental-stream",
    ):
        assert part not in found.ids


def test_what_failed_and_what_is_missing_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = suite(tmp_path, SUITE.replace("[accuracy]", "[accuracy, collapse]"))
    results = tmp_path / "results"
    finish(path, results, {"accuracy": accuracy}, skip=[("hug", 1), ("hug", 2), ("normface", 0)])
    html = report(path, results=results, bootstrap=0).path.read_text()
    found = Page(html)
    assert "Not measured yet: collapse. The rest is shown." in found.text
    assert "RuntimeError: <script>alert('note')</script>" in found.text
    assert "a note <script>alert('note')</script>" in found.text
    assert "two losses <script>alert('description')</script>" in found.text
    assert "<script" not in html
    assert row_of(found, "hug")
    assert sum("failed" in cells for cells in found.rows) == 3
    assert any("not testable" in cells[-1] for cells in found.rows if cells and cells[0] == "hug")


def test_damaged_details_and_absent_logs_are_no_reason_to_fail(tmp_path: Path) -> None:
    made = material(tmp_path, {"calibration": calibration}, {"calibration": diagrams})
    first, second, *_ = made.runs
    first.folder.details_file("calibration-0123456789").write_text("{}")
    second.folder.log.unlink()
    second.folder.model.unlink()
    (second.folder.path / "environment.json").write_text("no JSON")
    found = Page(page(made))
    assert "calibration-0123456789.json does not match its checksum" in found.text
    assert "reliability-diagrams" not in found.ids
    assert "Reliability diagrams" in found.text


def test_numbers_that_are_none_leave_tables_with_dashes(tmp_path: Path) -> None:
    def without(answer: Answer) -> Answer:
        return lambda criterion, seed: [{**found, "value": None} for found in answer(criterion, seed)]

    answers = {name: without(answer) for name, answer in ANSWERS.items()}
    found = Page(page(material(tmp_path, answers, {"adversarial": cards, "calibration": diagrams})))
    assert "corruption" in found.ids
    assert "– no result" in found.text


def test_an_axis_of_the_suite_gives_each_place_a_part_of_its_own(tmp_path: Path) -> None:
    path = suite(tmp_path, SUITE.replace("lr: 0.05", "lr: [0.05, 0.1]"))
    results = tmp_path / "results"
    finish(path, results, {"accuracy": accuracy})
    found = Page(report(path, results=results, bootstrap=0).path.read_text())
    assert "digits-test-resnet-standard-lr-0-05" in found.ids
    assert "digits · test_resnet · standard · lr=0.1" in found.text


def test_a_block_without_a_finished_run_is_said(tmp_path: Path) -> None:
    path = suite(tmp_path, SUITE.replace("lr: 0.05", "lr: [0.05, 0.1]"))
    results = tmp_path / "results"
    finish(path, results, {"accuracy": accuracy})
    for planned in make_plan(load_suite(path)).runs:
        if planned.variant.endswith("0.1"):
            (results / "runs" / planned.run.run_id / "status.json").unlink()
    found = Page(report(path, results=results, bootstrap=0).path.read_text())
    assert "No run of these models is finished: there is nothing to show." in found.text


def test_anchors_are_told_apart() -> None:
    taken: set[str] = set()
    anchors = [Section(title).placed(taken).anchor for title in ("A b", "a-B", "§", "§")]
    assert anchors == ["a-b", "a-b-2", "part", "part-2"]


def test_a_page_of_twelve_criteria_and_three_seeds_stays_small(tmp_path: Path) -> None:
    names = ", ".join(f"{{name: hug_{n}, hug: {{alpha: 0.{n:02d}}}}}" for n in range(1, 12))
    text = SUITE.replace("[cross_entropy, hug, normface]", f"[cross_entropy, {names}]")
    path = suite(tmp_path, text.replace("[accuracy]", "[accuracy, corruption]"))
    results = tmp_path / "results"

    def known(criterion: str) -> str:
        return "cross_entropy" if criterion == "cross_entropy" else "hug"

    answers = {
        "accuracy": lambda c, s: accuracy(known(c), s),
        "corruption": lambda c, s: corruption(known(c), s),
    }
    finish(path, results, answers)
    written = report(path, results=results, bootstrap=0)
    assert written.size < 1_000_000
    assert len(Page(written.path.read_text()).drawings) > 30


@pytest.mark.parametrize("value", [0.0, 1.0, None, 1e12])
def test_numbers_that_are_all_the_same_or_none_at_all_are_a_page(tmp_path: Path, value: float | None) -> None:
    def answer(criterion: str, seed: int) -> list[Row]:
        return [{**found, "value": value} for found in accuracy(criterion, seed)]

    shown = page(material(tmp_path, {"accuracy": answer}))
    assert "Accuracy on classes with few training images" in shown or value is None
    assert not re.search(r'[="> ](nan|inf|None)[<" ]', shown)
