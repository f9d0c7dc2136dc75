"""Verbs freeze and check on results of suites that never ran: what they say and refuse."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hugbench
from hugbench.checking import CheckReport
from hugbench.errors import UserError
from hugbench.reporting.drift import junit, summary
from hugbench.results.records import COLUMNS
from hugbench.results.references import guarded, read_reference
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import PlannedRun, make_plan
from tests.unit import finished

RIGHT = {"cross_entropy": 80, "hug": 84, "normface": 82}

Header = dict[str, Any]


def rights(planned: PlannedRun) -> list[bool]:
    return finished.first(RIGHT[planned.label] + planned.run.seed)


def placed(results: Path, suite: Path, **told: object) -> None:
    """An environment for every run."""
    for planned in make_plan(load_suite(suite)).runs:
        session = {
            "started": "2026-01-01T00:00:00+00:00",
            "device": "cpu",
            "device_name": "A processor",
            "threads": 1,
            "python": "3.12.0",
            "packages": {"hugbench": "0.1.0", "torch": "2.9.0"},
            "git_revision": "abc",
            "data_sha256": "d" * 64,
            **told,
        }
        folder = RunFolder(results, planned.run.run_id)
        (folder.path / "environment.json").write_text(json.dumps({"sessions": [session]}))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return finished.suite(tmp_path)


@pytest.fixture
def results(tmp_path: Path, suite: Path) -> Path:
    folder = tmp_path / "results"
    finished.finish(suite, folder, rights)
    placed(folder, suite)
    return folder


@pytest.fixture
def reference(tmp_path: Path, suite: Path, results: Path) -> Path:
    file = tmp_path / "reference.jsonl"
    hugbench.freeze(suite, results=results, out=file)
    return file


@pytest.fixture
def check(suite: Path, results: Path, reference: Path) -> Callable[..., CheckReport]:
    def call(of: Path = suite, **options: Any) -> CheckReport:
        return hugbench.check(of, **{"results": results, "reference": reference, **options})

    return call


def edited(reference: Path, change: Callable[[Header], None]) -> Path:
    """The reference with another header."""
    head, *lines = reference.read_text().splitlines()
    header = json.loads(head)
    change(header)
    reference.write_text("\n".join([json.dumps(header), *lines]) + "\n")
    return reference


def again(suite: Path, results: Path, lost: int, label: str = "hug") -> None:
    """The suite run once more, with a criterion that has lost some images."""
    finished.finish(
        suite,
        results,
        lambda planned: finished.first(
            RIGHT[planned.label] + planned.run.seed - (lost if planned.label == label else 0)
        ),
    )


def test_a_reference_says_where_it_comes_from(reference: Path) -> None:
    found = read_reference(reference)
    header = found.header
    assert header["suite"] == "suite"
    assert header["criteria"] == ["cross_entropy", "hug", "normface"]
    assert header["seeds"] == [0, 1, 2]
    assert len(header["runs"]) == 9
    assert header["datasets"]["digits"]["sha256"] == "d" * 64
    (environment,) = header["environments"]
    assert (environment["device_name"], environment["threads"], environment["runs"]) == ("A processor", 1, 9)
    assert header["remarks"] == [
        "run on a CPU only: A processor",
        "digits at reduced size: 100 of 360 test images (28%)",
    ]
    assert len(found.rows) == 9
    assert all(set(row) == set(COLUMNS) for row in found.rows)


def test_the_records_of_a_reference_are_those_that_were_frozen(
    suite: Path, results: Path, reference: Path
) -> None:
    def key(row: dict[str, Any]) -> str:
        return json.dumps(row, sort_keys=True)

    frozen = sorted(map(key, read_reference(reference).rows))
    assert frozen == sorted(map(key, hugbench.records(suite, results=results)))


def test_the_order_is_always_the_same(tmp_path: Path, suite: Path, results: Path, reference: Path) -> None:
    other = tmp_path / "other.jsonl"
    hugbench.freeze(suite, results=results, out=other)
    assert other.read_text().splitlines()[1:] == reference.read_text().splitlines()[1:]


def test_a_reference_is_not_overwritten_in_silence(suite: Path, results: Path, reference: Path) -> None:
    with pytest.raises(UserError, match="there is a reference already"):
        hugbench.freeze(suite, results=results, out=reference)
    assert hugbench.freeze(suite, results=results, out=reference, force=True).records == 9


def test_an_unfinished_suite_is_frozen_only_on_demand(tmp_path: Path, suite: Path) -> None:
    results, file = tmp_path / "some", tmp_path / "some.jsonl"
    with pytest.raises(UserError, match="not finished"):
        hugbench.freeze(suite, results=results, out=file, partial=True)
    finished.finish(suite, results, lambda planned: None if planned.run.seed else rights(planned))
    finished.fail(suite, results, "normface", "NonFiniteLoss: at step 3")
    with pytest.raises(UserError, match="4 of 9 runs are missing"):
        hugbench.freeze(suite, results=results, out=file)
    assert not file.exists()
    done = hugbench.freeze(suite, results=results, out=file, partial=True)
    assert [text for text in done.remarks if text.startswith("partial")] == [
        "partial: 4 of 9 runs are missing",
        *(f"partial: normface, seed {seed} failed: NonFiniteLoss: at step 3" for seed in range(3)),
    ]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"subset": "many"}, True),
        ({"subset": "class:7"}, False),
        ({"subset": "seen", "experience": 5}, False),
        ({"experience": 5}, True),
        ({"experience": 4}, False),
        ({"severity": 3}, False),
        ({"epoch": 2}, False),
        ({"condition": "near"}, True),
        ({"condition": "near:kmnist"}, False),
        ({"metric": "msp.auroc"}, True),
        ({"metric": "msp.fpr_at_95_tpr"}, False),
        ({"evaluation": "corruption", "condition": "fog"}, True),
        ({"evaluation": "calibration", "condition": "fog"}, False),
    ],
)
def test_what_is_guarded(changes: dict[str, Any], kept: bool) -> None:
    row = {"evaluation": "accuracy", "metric": "accuracy", "condition": "clean", "subset": "all", **changes}
    assert guarded(row, 5) is kept


def test_the_same_numbers_pass_to_the_last_bit(check: Callable[..., CheckReport]) -> None:
    report = check()
    assert report.exit_code == 0
    assert {change.verdict for change in report.changes} == {"identical"}
    assert report.same_environment
    assert "the same to the last bit" in summary(report)


def test_a_loss_is_caught_and_a_gain_too(
    suite: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    for lost, verdict in ((20, "worse"), (-14, "better")):
        again(suite, results, lost)
        report = check()
        assert report.exit_code == 1
        assert [(change.criterion, change.verdict) for change in report.moved] == [("hug", verdict)]
        assert "1 number moved" in summary(report)
        assert "the computation has changed" in summary(report)


def test_an_image_less_is_noise_though_not_the_same_bits(
    suite: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    again(suite, results, 1)
    report = check()
    assert report.exit_code == 0
    assert sorted({change.verdict for change in report.changes}) == ["identical", "within"]
    assert "1 number is not the same to the last bit" in summary(report)


def test_elsewhere_nobody_expects_the_same_bits(
    suite: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    placed(results, suite, packages={"hugbench": "0.1.0", "torch": "2.10.0"})
    again(suite, results, 1)
    report = check()
    assert not report.same_environment
    assert "bit" not in summary(report)
    placed(results, suite, packages={"hugbench": "9.9.9", "torch": "2.9.0"}, git_revision="other")
    assert check().same_environment


def test_junit_has_a_case_for_every_number_and_gap(
    suite: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    again(suite, results, 20)
    finished.fail(suite, results, "normface", "RuntimeError: <no & memory>")
    root = ET.fromstring(junit(check()))
    (found,) = root
    assert root.tag == "testsuites"
    cases = found.findall("testcase")
    assert int(found.get("tests", "")) == len(cases)
    assert int(found.get("failures", "")) == len(found.findall("testcase/failure")) == 1
    assert int(found.get("errors", "")) == len(found.findall("testcase/error")) > 0
    (failed,) = (case for case in cases if case.find("failure") is not None)
    assert failed.get("name") == "hug: accuracy"
    assert failed.get("classname") == "suite.digits.test_resnet.standard.accuracy"
    message = failed.find("failure").get("message")  # type: ignore[union-attr]
    assert "85.00 % before and 65.00 % now" in str(message)
    assert any("<no & memory>" in str(case.get("name")) for case in cases)


def gaps(report: CheckReport) -> str:
    assert report.exit_code == 2
    return "; ".join(report.gaps)


def test_a_criterion_on_one_side_only(
    tmp_path: Path, results: Path, reference: Path, check: Callable[..., CheckReport]
) -> None:
    for criteria, sentence in (
        ("[cross_entropy, hug]", "only the reference has numbers of normface"),
        ("[cross_entropy, hug, normface, cosface]", "only the suite has numbers of cosface"),
    ):
        other = finished.suite(tmp_path / "other", "suite", criteria=criteria)
        RIGHT["cosface"] = 80
        finished.finish(other, results, rights)
        report = check(other)
        assert sentence in gaps(report)
        assert {change.criterion for change in report.changes} >= {"cross_entropy", "hug"}


def test_another_data_set(tmp_path: Path, results: Path, check: Callable[..., CheckReport]) -> None:
    other = finished.suite(tmp_path / "other", "suite", dataset="{name: mnist, max_test: 100}")
    finished.finish(other, results, rights)
    report = check(other)
    assert "only the reference has numbers on digits, test_resnet, standard" in gaps(report)
    assert report.changes == ()
    assert "nothing could be checked" in summary(report)


def test_the_same_data_set_with_other_images(
    suite: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    placed(results, suite, data_sha256="e" * 64)
    assert "digits has other images than the reference's" in gaps(check())


def test_another_suite(tmp_path: Path, suite: Path, check: Callable[..., CheckReport]) -> None:
    other = tmp_path / "renamed.yaml"
    other.write_text(suite.read_text())
    report = check(other)
    assert "the reference is of suite suite, not renamed" in gaps(report)
    assert len(report.changes) == 3


def test_another_specification_of_one_model(
    tmp_path: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    other = finished.suite(tmp_path / "o", "suite", criteria="[cross_entropy, {hug: {alpha: 0.3}}, normface]")
    finished.finish(other, results, rights)
    report = check(other)
    assert "hug, digits, test_resnet, standard: the model is specified otherwise" in gaps(report)
    assert {change.criterion for change in report.changes} == {"cross_entropy", "normface"}


def test_another_spec_version_matches_by_name(reference: Path, check: Callable[..., CheckReport]) -> None:
    edited(reference, lambda header: header.update(spec_version=1))
    report = check()
    assert report.exit_code == 0
    assert any("SPEC_VERSION 1" in note for note in report.notes)


def test_an_evaluation_with_other_arguments(reference: Path, check: Callable[..., CheckReport]) -> None:
    edited(reference, lambda header: header["evaluations"].update(accuracy="accuracy-0123456789"))
    assert "evaluation accuracy has other arguments than in the reference" in gaps(check())


def test_an_evaluation_on_one_side_only(reference: Path, check: Callable[..., CheckReport]) -> None:
    edited(reference, lambda header: header["evaluations"].update(ood="ood-0123456789"))
    report = check()
    assert gaps(report) == "evaluation ood of the reference is not in the suite"
    assert len(report.changes) == 3


def test_another_baseline(reference: Path, check: Callable[..., CheckReport]) -> None:
    edited(reference, lambda header: header.update(baseline="hug"))
    report = check()
    assert "the reference's baseline is hug, not cross_entropy" in gaps(report)
    assert len(report.changes) == 3


def test_no_seed_in_common(
    suite: Path, results: Path, tmp_path: Path, check: Callable[..., CheckReport]
) -> None:
    other = finished.suite(tmp_path / "o", "suite", seeds="[7, 8]")
    finished.finish(other, results, rights)
    report = check(other)
    assert (
        "hug, digits, test_resnet, standard: no seed in common (0, 1, 2 in the reference, 7, 8 now)"
        in gaps(report)
    )
    assert report.changes == ()


def test_some_seeds_are_enough(suite: Path, check: Callable[..., CheckReport]) -> None:
    report = check(seeds=[1])
    assert report.exit_code == 0
    assert {change.seeds for change in report.changes} == {(1,)}


def test_other_seeds_beside_common_ones(
    tmp_path: Path, results: Path, check: Callable[..., CheckReport]
) -> None:
    other = finished.suite(tmp_path / "o", "suite", seeds="[2, 3]")
    finished.finish(other, results, rights)
    report = check(other)
    assert report.exit_code == 0
    assert any("seeds 3 are not in the reference" in note for note in report.notes)


def test_runs_that_failed_or_are_missing(
    tmp_path: Path, suite: Path, reference: Path, check: Callable[..., CheckReport]
) -> None:
    results = tmp_path / "new"
    finished.finish(suite, results, lambda planned: rights(planned) if planned.run.seed else None)
    finished.fail(suite, results, "hug", "NonFiniteLoss: at step 3")
    report = check(results=results)
    said = gaps(report)
    assert "hug, seed 1 failed: NonFiniteLoss: at step 3" in said
    assert "runs are not finished" in said
    assert "only the reference has numbers of hug" in said
    assert {change.criterion for change in report.changes} == {"cross_entropy", "normface"}


def test_a_number_that_is_gone(suite: Path, results: Path, check: Callable[..., CheckReport]) -> None:
    finished.finish(suite, results, rights, metric="another")
    report = check()
    assert "numbers of the reference that are not there now (3): accuracy accuracy clean" in gaps(report)
    assert any("not in the reference, and not judged: 3 numbers" in note for note in report.notes)


def test_a_number_that_some_seeds_lack(suite: Path, results: Path, check: Callable[..., CheckReport]) -> None:
    for planned in make_plan(load_suite(suite)).runs:
        if planned.label == "hug" and planned.run.seed == 1:
            folder = RunFolder(results, planned.run.run_id)
            (key,) = folder.status().evaluations
            finished.store(folder, key, [{**finished.record(planned, 0.8), "value": None}])
    report = check()
    assert report.exit_code == 0
    assert "1 value finite on one side only, and left out there (hug, standard, accuracy, seed 1)" in [
        *report.notes
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.update(schema=99), "a version that this hugbench does not know"),
        (lambda header: header.update(record_schema=99), "a version that this hugbench does not know"),
        (lambda header: header.pop("seeds"), "damaged header"),
        (lambda header: header.update(kind="something"), "no reference"),
        (lambda header: header.update(runs=[]), "no record"),
    ],
)
def test_a_reference_that_cannot_be_read(
    reference: Path, check: Callable[..., CheckReport], change: Callable[[Header], None], words: str
) -> None:
    edited(reference, change)
    with pytest.raises(UserError, match=words):
        check()


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}\n"])
def test_what_is_no_reference(reference: Path, check: Callable[..., CheckReport], text: str) -> None:
    reference.write_text(text)
    with pytest.raises(UserError, match=r"no reference|cannot be read"):
        check()


def test_there_is_none(tmp_path: Path, check: Callable[..., CheckReport]) -> None:
    with pytest.raises(UserError, match="there is no reference"):
        check(reference=tmp_path / "none.jsonl")


def test_json(check: Callable[..., CheckReport]) -> None:
    told = json.loads(json.dumps(check().to_json(), allow_nan=False))
    assert (told["exit_code"], told["moved"], told["identical"], told["same_environment"]) == (0, 0, 3, True)
