"""The verb compare on results folders that are made up: what it takes, what it says, what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import hugbench
from hugbench.comparing import compare
from hugbench.errors import UserError
from hugbench.results.contrasts import CompareReport, Contrast
from hugbench.results.mcnemar import mcnemar
from hugbench.results.multiplicity import holm
from hugbench.results.store import RunFolder
from hugbench.suite.loader import load_suite
from hugbench.suite.plan import PlannedRun, make_plan
from tests.unit.finished import IMAGES, fail, finish, first, predict, record, store, suite

COUNTS = {"cross_entropy": [80, 82, 81], "hug": [90, 91, 91], "normface": [81, 81, 84]}


def rights(planned: PlannedRun) -> Sequence[bool] | None:
    return first(COUNTS[planned.label][planned.run.seed])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = suite(tmp_path)
    finish(made, tmp_path / "results", rights)
    return made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def line(report: CompareReport, criterion: str, **place: Any) -> Contrast:
    (found,) = [
        line
        for line in report.contrasts
        if line.criterion == criterion
        and all(getattr(line.quantity, name) == value for name, value in place.items())
    ]
    return found


def refused(*targets: Any, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        compare(*targets, **options)
    return str(error.value)


def run_folder(path: Path, results: Path, label: str, seed: int) -> Path:
    (found,) = [p for p in make_plan(load_suite(path)).runs if (p.label, p.run.seed) == (label, seed)]
    return RunFolder(results, found.run.run_id).path


def test_a_suite_is_compared_with_its_baseline(path: Path, results: Path) -> None:
    report = compare(path, results=results)
    assert report.baseline == "cross_entropy"
    assert report.criteria == ("cross_entropy", "hug", "normface")
    p_values = [
        scipy.stats.ttest_rel(COUNTS[name], COUNTS["cross_entropy"]).pvalue for name in ("hug", "normface")
    ]
    hug, normface = line(report, "hug"), line(report, "normface")
    assert [hug.difference.p_value, normface.difference.p_value] == pytest.approx(p_values)
    assert [hug.holm, normface.holm] == pytest.approx(holm(p_values))
    assert (hug.verdict, normface.verdict) == ("better", "undecided")
    assert line(report, "cross_entropy").verdict == "baseline"
    assert normface.seeds_needed > 3
    assert hug.seeds_needed is None
    assert list(report.families().values()) == [2]
    assert report.notes == ()
    assert len(report.runs["hug"]) == 3
    json.dumps(report.to_json(), allow_nan=False)
    assert hugbench.compare is compare


def test_the_bootstrap_and_mcnemar_are_of_the_predictions(path: Path, results: Path) -> None:
    hug = line(compare(path, results=results, bootstrap=500), "hug")
    assert hug.bootstrap is not None
    assert (hug.bootstrap.images, hug.bootstrap.draws, hug.bootstrap.seeds) == (IMAGES, 500, 3)
    assert hug.bootstrap.low < hug.difference.mean < hug.bootstrap.high
    for seed in range(3):
        known = mcnemar(first(COUNTS["hug"][seed]), first(COUNTS["cross_entropy"][seed]))
        assert hug.mcnemar[seed] == known
    assert line(compare(path, results=results, bootstrap=0), "hug").bootstrap is None


def test_predictions_that_do_not_give_the_number_are_not_used(path: Path, results: Path) -> None:
    plan = make_plan(load_suite(path))
    planned = next(p for p in plan.runs if p.label == "hug")
    folder = RunFolder(results, planned.run.run_id)
    predict(folder, plan.keys(planned)[0], first(17))
    hug = line(compare(path, results=results), "hug")
    assert (hug.bootstrap, hug.mcnemar) == (None, None)
    assert hug.verdict == "better"


@pytest.mark.parametrize("harm", ["other images", "damaged", "gone"])
def test_without_the_same_images_there_is_no_bootstrap(path: Path, results: Path, harm: str) -> None:
    plan = make_plan(load_suite(path))
    planned = next(p for p in plan.runs if p.label == "hug" and p.run.seed == 1)
    folder, key = RunFolder(results, planned.run.run_id), plan.keys(planned)[0]
    if harm == "other images":
        predict(folder, key, rights(planned), index=np.arange(IMAGES) + 7)
    elif harm == "damaged":
        with folder.predictions_file(key).open("ab") as file:
            file.write(b"x")
    else:
        folder.predictions_file(key).unlink()
    report = compare(path, results=results)
    assert line(report, "hug").bootstrap is None
    assert line(report, "normface").bootstrap is not None
    said = " ".join(report.notes)
    assert (said == "") if harm == "other images" else ("no bootstrap" in said)


def test_equal_within_a_tolerance(tmp_path: Path, results: Path) -> None:
    seeds = list(range(8))
    path = suite(tmp_path, seeds=str(seeds))
    finish(path, results, lambda p: first(80 + (p.run.seed % 2 if p.label != "cross_entropy" else 0)))
    hug = line(compare(path, results=results, delta=0.03), "hug")
    p = scipy.stats.ttest_1samp([0.0, 0.01] * 4, 0.03, alternative="less").pvalue
    assert hug.equivalence == pytest.approx(holm([p, p])[0])
    assert (hug.verdict, hug.delta) == ("equal", 0.03)
    assert line(compare(path, results=results), "hug").verdict == "undecided"
    assert line(compare(path, results=results, delta={"accuracy": 0.03}), "hug").verdict == "equal"
    off = line(compare(path, results=results, delta=0), "hug")
    assert (off.delta, off.equivalence, off.verdict) == (None, None, "undecided")


def test_two_results_folders_are_before_and_after(path: Path, results: Path, tmp_path: Path) -> None:
    after = tmp_path / "after"
    finish(
        path, after, lambda p: first(COUNTS[p.label][p.run.seed] + (3 + p.run.seed % 2) * (p.label == "hug"))
    )
    for report in (
        compare(path, results=[results, after]),
        compare(results, after),
    ):
        assert report.baseline == "before"
        assert report.paired_in_time
        hug, normface = line(report, "hug"), line(report, "normface")
        assert hug.difference.mean == pytest.approx(10 / 300)
        assert (hug.verdict, hug.against) == ("better", "before")
        assert normface.verdict == "identical"
        assert hug.bootstrap is not None
        assert report.sources == {"before": str(results), "after": str(after)}
    assert line(compare(after, results), "hug").verdict == "worse"


def test_before_and_after_show_what_only_one_side_has(path: Path, results: Path, tmp_path: Path) -> None:
    after = tmp_path / "after"
    finish(path, after, lambda p: rights(p) if p.label != "hug" else None)
    report = compare(path, results=[results, after])
    assert line(report, "hug").verdict == "no result"
    assert line(report, "normface").verdict == "identical"
    assert any("hug has no number" in note for note in report.notes)
    back = compare(path, results=[after, results])
    assert line(back, "hug").verdict == "no baseline"
    assert any("nothing of hug before" in note for note in back.notes)


def test_folders_of_runs_are_compared_with_the_first(path: Path, results: Path) -> None:
    folders = [run_folder(path, results, label, 1) for label in ("normface", "hug")]
    report = compare(*folders)
    assert report.baseline == "normface"
    hug = line(report, "hug")
    assert hug.verdict == "not testable"
    assert hug.mcnemar[1] == mcnemar(first(91), first(81))
    assert hug.bootstrap.seeds == 1
    assert compare(*folders, baseline="hug").baseline == "hug"


def test_a_results_folder_is_all_its_runs(path: Path, results: Path) -> None:
    by_suite, by_folder = compare(path, results=results), compare(results)
    assert by_folder.baseline == "cross_entropy"
    for name in ("hug", "normface"):
        found, known = line(by_folder, name), line(by_suite, name)
        assert (found.holm, found.verdict, found.bootstrap) == (known.holm, known.verdict, known.bootstrap)
    assert [line(compare(results, seeds=[0, 2]), "hug").difference.seeds] == [(0, 2)]


def test_the_same_criterion_twice_is_told_apart(tmp_path: Path, results: Path) -> None:
    path = suite(
        tmp_path, criteria="[cross_entropy, {name: a, hug: {alpha: 0.1}}, {name: b, hug: {alpha: 0.2}}]"
    )
    finish(path, results, lambda p: first(80 + p.run.seed))
    assert set(compare(path, results=results).criteria) == {"cross_entropy", "a", "b"}
    assert set(compare(results).criteria) == {"cross_entropy", "hug(alpha=0.1)", "hug(alpha=0.2)"}


def test_several_suites_are_one_table(path: Path, results: Path, tmp_path: Path) -> None:
    other = suite(tmp_path, "other", criteria="[cross_entropy, cosface]")
    finish(other, results, lambda p: first(95 + p.run.seed) if p.label == "cosface" else rights(p))
    report = compare(path, other, results=results)
    assert report.criteria == ("cross_entropy", "hug", "normface", "cosface")
    assert list(report.families().values()) == [3]
    assert line(report, "cosface").verdict == "better"


def test_suites_that_share_no_seed(path: Path, results: Path, tmp_path: Path) -> None:
    other = suite(tmp_path, "other", criteria="[cross_entropy, cosface]", seeds="[7, 8, 9]")
    finish(other, results, lambda p: first(95) if p.label == "cosface" else None)
    report = compare(path, other, results=results)
    assert line(report, "cosface").verdict == "not testable"
    assert any("cosface and cross_entropy share no seed (7, 8, 9 against 0, 1, 2)" in n for n in report.notes)
    assert line(report, "hug").verdict == "better"


def test_other_data_and_protocols_are_not_compared(path: Path, results: Path, tmp_path: Path) -> None:
    other = suite(tmp_path, "other", dataset="{name: digits, max_test: 50}")
    finish(other, results, rights)
    report = compare(run_folder(path, results, "cross_entropy", 0), run_folder(other, results, "hug", 0))
    assert {line.verdict for line in report.contrasts} == {"baseline", "no baseline"}
    assert any("dataset.max_test (100, 50)" in note for note in report.notes)
    assert any("only runs of the same data, model and protocol" in note for note in report.notes)
    stream = suite(
        tmp_path,
        "stream",
        protocol="{continual: {experiences: 5, strategies: [naive]}}",
        criteria="[cross_entropy, hug]",
    )
    finish(stream, results, rights, protocol="continual naive", experience=5)
    report = compare(run_folder(path, results, "cross_entropy", 0), run_folder(stream, results, "hug", 0))
    assert any("digits, test_resnet, continual naive" in note for note in report.notes)


def test_other_recipes_are_compared_and_said(path: Path, results: Path, tmp_path: Path) -> None:
    other = suite(tmp_path, "other", recipe="{epochs: 2, batch_size: 64, lr: 0.1}")
    finish(other, results, rights)
    report = compare(run_folder(path, results, "cross_entropy", 0), run_folder(other, results, "hug", 0))
    assert any("recipe.epochs (1, 2)" in note for note in report.notes)
    assert line(report, "hug").difference is not None


def test_a_baseline_that_failed_leaves_the_rest(path: Path, results: Path) -> None:
    for seed in range(3):
        shutil.rmtree(run_folder(path, results, "cross_entropy", seed))
    fail(path, results, "cross_entropy", "the loss is not finite")
    report = compare(path, results=results)
    assert {name: line(report, name).verdict for name in report.criteria} == {
        "cross_entropy": "no result",
        "hug": "no baseline",
        "normface": "no baseline",
    }
    assert line(report, "hug").interval.mean == pytest.approx(np.mean(COUNTS["hug"]) / 100)
    assert "cross_entropy, seed 0 failed: the loss is not finite" in report.notes
    assert any("nothing of cross_entropy is finished, so nothing is tested" in note for note in report.notes)


def test_unfinished_runs_are_counted(tmp_path: Path, results: Path) -> None:
    path = suite(tmp_path)
    finish(path, results, lambda p: rights(p) if (p.label, p.run.seed) != ("hug", 2) else None)
    report = compare(path, results=results)
    hug = line(report, "hug")
    assert (hug.difference.seeds, hug.missing, hug.verdict) == ((0, 1), (2,), "not testable")
    assert "1 of 9 runs are not finished" in report.notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 3}, "schema 3, and this hugbench reads those up to 2"),
        ({"schema": "two"}, "schema 'two'"),
        ({"metric": "absent"}, "no column metric"),
        ({"value": "absent", "n": "absent"}, "no column n, value"),
    ],
)
def test_records_of_another_schema_are_left_out_and_said(
    path: Path, results: Path, change: dict[str, Any], words: str
) -> None:
    finish(path, results, lambda p: rights(p) if p.label == "hug" else None, **change)
    report = compare(path, results=results)
    assert any(words in note for note in report.notes)
    assert line(report, "hug").verdict == "no result"
    assert line(report, "normface").verdict == "undecided"


def test_old_records_have_nulls_where_columns_came_later(path: Path, results: Path) -> None:
    old = {"schema": "absent", "reliability": "absent", "epoch": "absent", "severity": "absent"}
    finish(path, results, rights, **old)
    assert line(compare(path, results=results), "hug").verdict == "better"


def test_what_an_evaluation_said_travels_with_its_numbers(path: Path, results: Path) -> None:
    for planned in make_plan(load_suite(path)).runs:
        folder = RunFolder(results, planned.run.run_id)
        status = folder.status()
        (key,) = status.evaluations
        status.notes[key] = ["measured so", *(["not so sure"] if planned.label == "hug" else [])]
        status.notes[f"{key}.epoch-1"] = ["on the way"]
        folder.write_status(status)
    told = ["hug (seed 0, 1, 2): not so sure", "measured so"]
    assert set(told) <= set(compare(path, results=results).notes)
    assert set(told) <= set(compare(results, evaluations=["accuracy"]).notes)
    assert "on the way" not in compare(path, results=results).notes


def test_an_evaluation_that_one_arm_lacks(tmp_path: Path, results: Path) -> None:
    path = suite(tmp_path, evaluations="[accuracy, {accuracy: {bins: 20}}]")
    finish(path, results, rights)
    plan = make_plan(load_suite(path))
    for planned in plan.runs:
        if planned.label != "hug":
            store(RunFolder(results, planned.run.run_id), plan.keys(planned)[1], [record(planned, 0.5)])
    report = compare(path, results=results)
    assert line(report, "hug", evaluation="accuracy(bins=20)").verdict == "no result"
    assert line(report, "hug", evaluation="accuracy(bins=15)").verdict == "better"
    assert any("accuracy(bins=20): hug has no number there" in note for note in report.notes)


def test_unreliable_figures_are_not_judged(path: Path, results: Path) -> None:
    finish(path, results, lambda p: rights(p) if p.label == "hug" else None, reliability="FAIL")
    report = compare(path, results=results)
    hug = line(report, "hug")
    assert (hug.verdict, hug.holm, hug.equivalence) == ("unreliable", None, None)
    assert list(report.families().values()) == [1]


def test_what_is_shown_is_chosen(tmp_path: Path, results: Path) -> None:
    path = suite(tmp_path, criteria="[cross_entropy, hug]")
    plan = make_plan(load_suite(path))
    for planned in plan.runs:
        rows = [record(planned, 0.8 + 0.01 * planned.run.seed)]
        rows += [
            {**rows[0], "subset": "class:3", "value": 0.1},
            {**rows[0], "metric": "temperature", "value": 2.0},
        ]
        store(RunFolder(results, planned.run.run_id), plan.keys(planned)[0], rows)

    def shown(**options: Any) -> set[tuple[str, str]]:
        lines = compare(path, results=results, **options).contrasts
        return {(line.quantity.metric, line.quantity.subset) for line in lines}

    assert shown() == {("accuracy", "all")}
    assert shown(metrics=["temperature"]) == {("temperature", "all")}
    assert shown(metrics=["accuracy"], everything=True) == {("accuracy", "all"), ("accuracy", "class:3")}
    everything = {("accuracy", "all"), ("accuracy", "class:3"), ("temperature", "all")}
    assert shown(everything=True) == shown(everything=True, evaluations=["accuracy"]) == everything
    families = compare(path, results=results, everything=True).families()
    assert {family[-1]: size for family, size in families.items()} == {
        "primary differences": 0,
        "other differences": 0,
    }
    assert "did you mean 'temperature'" in refused(path, results=results, metrics=["temprature"])
    assert "did you mean 'accuracy'" in refused(path, results=results, evaluations=["acuracy"])


def test_held_out_images_are_a_family_of_their_own(tmp_path: Path, results: Path) -> None:
    path = suite(
        tmp_path,
        dataset="{name: digits, max_test: 100, validation: 0.1}",
        evaluations="[accuracy, {accuracy: {split: validation}}]",
    )
    finish(path, results, rights)
    plan = make_plan(load_suite(path))
    for planned in plan.runs:
        rows = [record(planned, COUNTS[planned.label][planned.run.seed] / 100)]
        store(RunFolder(results, planned.run.run_id), plan.keys(planned)[1], rows)
    families = compare(path, results=results).families()
    assert {family[-1]: size for family, size in families.items()} == {
        "primary differences": 2,
        "primary differences on held-out images": 2,
    }


@pytest.mark.parametrize("other", ["{split: validation}", "{bins: 5}"])
def test_suites_that_ask_with_other_arguments_are_not_compared(
    results: Path, tmp_path: Path, other: str
) -> None:
    data = "{name: digits, max_test: 100, validation: 0.1}"
    one = suite(tmp_path, criteria="[cross_entropy]", dataset=data)
    two = suite(
        tmp_path, "two", criteria="[hug]", baseline="hug", dataset=data, evaluations=f"[accuracy: {other}]"
    )
    for path in (one, two):
        finish(path, results, rights)
    report = compare(one, two, results=results)
    assert {line.verdict for line in report.contrasts} == {"baseline", "no result", "no baseline"}
    assert {line.quantity.evaluation for line in report.contrasts} >= {"accuracy"}


def test_held_out_images_are_called_so_when_they_are_all_there_is(tmp_path: Path, results: Path) -> None:
    path = suite(
        tmp_path,
        dataset="{name: digits, max_test: 100, validation: 0.1}",
        evaluations="[accuracy: {split: validation}]",
    )
    finish(path, results, rights)
    for report in (compare(path, results=results), compare(results)):
        assert list(report.families()) == [
            ("digits", "test_resnet", "standard", "", "primary differences on held-out images")
        ]


def test_ranks_over_seeds_and_quantities(path: Path, results: Path) -> None:
    found = compare(path, results=results, ranks="seeds").ranking
    assert found.criteria == ("hug", "normface", "cross_entropy")
    assert found.ranks == pytest.approx((1, 7 / 3, 8 / 3))
    known = scipy.stats.friedmanchisquare(*COUNTS.values())
    assert found.p_value == pytest.approx(known.pvalue)
    assert compare(path, results=results, ranks="quantities").ranking.p_value is None


def test_ranks_leave_out_what_has_no_value(tmp_path: Path, results: Path) -> None:
    path = suite(tmp_path)
    finish(path, results, lambda p: rights(p) if p.label != "normface" else None)
    report = compare(path, results=results, ranks="seeds")
    assert report.ranking.criteria == ("hug", "cross_entropy")
    assert "ranks: normface has no value and is left out" in report.notes


def test_targets_that_are_none(path: Path, results: Path, tmp_path: Path) -> None:
    assert "nothing to compare" in refused()
    assert "no such suite" in refused(tmp_path / "absent.yaml")
    assert "did you mean 'quickstart'" in refused("quickstrat")
    (tmp_path / "empty").mkdir()
    assert "is no result" in refused(tmp_path / "empty")
    assert "no run is finished" in refused(path, results=tmp_path / "elsewhere")
    fail(path, tmp_path / "failed", "hug", "out of memory")
    assert "3 failed, the first with: out of memory" in refused(path, results=tmp_path / "failed")
    assert "holds no runs" in refused(path, results=[results, tmp_path / "empty"])
    assert "the same folder twice" in refused(path, results=[results, results])
    assert "too many results folders" in refused(results, results=[results, tmp_path / "empty"])
    assert "too many results folders" in refused(path, results=[results] * 3)


def test_a_run_folder_that_cannot_be_read_is_left_out(path: Path, results: Path) -> None:
    folder = run_folder(path, results, "normface", 0)
    (folder / "run.yaml").write_text("criterion: [")
    report = compare(results)
    assert any("run.yaml cannot be read" in note for note in report.notes)
    assert line(report, "normface").difference.seeds == (1, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"baseline": "hgu"}, "did you mean 'hug'"),
        ({"bootstrap": -1}, "--bootstrap"),
        ({"delta": -0.1}, "--delta"),
        ({"delta": float("nan")}, "--delta"),
        ({"delta": {"acuracy": 0.01}}, "did you mean 'accuracy'"),
        ({"ranks": "blocks"}, "quantities or seeds"),
        ({"metrics": ["auroc"]}, "--metric: no run has that"),
        ({"evaluations": ["collapse"]}, "--evaluation: no run has that"),
    ],
)
def test_options_that_are_wrong(path: Path, results: Path, options: dict[str, Any], words: str) -> None:
    assert words in refused(path, results=results, **options)


def test_options_that_do_not_go_together(path: Path, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "after")
    both = [results, tmp_path / "after"]
    assert "--baseline" in refused(path, results=both, baseline="hug")
    assert "--ranks" in refused(path, results=both, ranks="seeds")
    assert "--set" in refused(results, settings=["recipe.epochs=2"])
    twin = run_folder(path, results, "hug", 0)
    assert "from two folders" in refused(twin, tmp_path / "after" / "runs" / twin.name)
    only = [run_folder(path, results, label, 0) for label in ("hug", "normface")]
    shutil.copytree(only[0], tmp_path / "few" / "runs" / only[0].name)
    assert "no such criterion among those compared" in refused(tmp_path / "few")


def test_what_is_normalised_by_the_baseline_is_compared(tmp_path: Path, results: Path) -> None:
    """mCE is made from the records of both; a filter on what is shown does not take them away."""
    path = suite(tmp_path, criteria="[cross_entropy, hug]", evaluations="[corruption]")
    plan = make_plan(load_suite(path))
    for planned in plan.runs:
        better = 0.1 * (planned.label == "hug") + 0.001 * planned.run.seed
        row = {**record(planned, 0.9), "evaluation": "corruption"}
        rows = [
            {**row, "condition": "corrupted", "metric": "mean_corruption_error", "value": 0.5 - better},
            row,
        ]
        rows += [{**row, "condition": kind, "value": 0.5 + better} for kind in ("fog", "snow", "corrupted")]
        store(RunFolder(results, planned.run.run_id), plan.keys(planned)[0], rows)
    assert {line.quantity.metric for line in compare(path, results=results).contrasts} == {
        "mean_corruption_error"
    }
    hug = line(compare(path, results=results, metrics=["mCE"]), "hug")
    assert hug.interval.mean == pytest.approx(np.mean([0.4 / 0.5, 0.399 / 0.499, 0.398 / 0.498]))
    assert hug.verdict == "better"


def test_a_results_folder_without_runs(tmp_path: Path) -> None:
    (tmp_path / "none" / "runs").mkdir(parents=True)
    assert "no run is finished" in refused(tmp_path / "none")


def test_damaged_records_of_all_runs_are_said(path: Path, results: Path) -> None:
    for file in (results / "runs").glob("*/records/*.jsonl"):
        file.write_text("damaged")
    message = refused(path, results=results)
    assert "9 files are damaged" in message
    assert "does not match its checksum" in message
