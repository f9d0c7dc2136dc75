from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hugbench.results.lessons import STRANGERS, strangers
from hugbench.results.progress import TEACHERS, Found, Survey
from hugbench.results.store import RunFolder, Status
from tests.unit.results.timed import plan_of, ran


def by_name(found: tuple[Found, ...]) -> dict[tuple[str, int], Found]:
    return {(each.planned.label, each.planned.run.seed): each for each in found}


def test_nothing_known(tmp_path: Path) -> None:
    found = Survey(plan_of(tmp_path), tmp_path / "results").look()
    assert [(each.state, each.epoch, each.seconds) for each in found] == [("pending", 0, None)] * 4
    assert {each.untimed for each in found} == {("accuracy",)}
    assert not (tmp_path / "results").exists()


def test_epochs_and_evaluations_of_finished_runs_tell_of_the_others(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    first, hug, *_ = plan.runs
    ran(plan, first, tmp_path, 2.0, took=5.0)
    ran(plan, hug, tmp_path, 3.0, took=7.0)
    found = by_name(Survey(plan, tmp_path).look())
    assert found["cross_entropy", 0].state == "done"
    assert found["cross_entropy", 0].seconds == 0
    assert found["cross_entropy", 1].seconds == pytest.approx(10 * 2.0 + 5.0)
    assert found["hug", 1].seconds == pytest.approx(10 * 3.0 + 7.0)
    assert found["hug", 1].untimed == ()


def test_a_run_in_training_goes_by_its_own_epochs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    first, hug, *_ = plan.runs
    ran(plan, first, tmp_path, 2.0, took=5.0)
    ran(plan, hug, tmp_path, 4.0, epochs=7)
    found = by_name(Survey(plan, tmp_path).look())
    assert (found["hug", 0].state, found["hug", 0].epoch) == ("training", 7)
    assert found["hug", 0].seconds == pytest.approx(3 * 4.0 + 5.0)
    assert found["hug", 1].seconds == pytest.approx(10 * 4.0 + 5.0)


def test_a_trained_run_has_its_evaluations_left(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    first, second = plan.runs[0], plan.runs[2]
    ran(plan, first, tmp_path, 2.0, took=5.0)
    folder = ran(plan, second, tmp_path, 2.0)
    folder.write_status(Status("trained"))
    found = by_name(Survey(plan, tmp_path).look())
    assert (found["cross_entropy", 1].state, found["cross_entropy", 1].epoch) == ("partly", 10)
    assert found["cross_entropy", 1].seconds == 5.0


def test_old_folders_teach_epochs_and_say_what_was_not_timed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    ran(plan, plan.runs[0], tmp_path, 2.0, took=None)
    found = by_name(Survey(plan, tmp_path).look())
    assert found["cross_entropy", 0].state == "done"
    assert (found["hug", 1].seconds, found["hug", 1].untimed) == (20.0, ("accuracy",))


def test_runs_of_other_suites_teach_where_the_plan_leaves_a_gap(tmp_path: Path) -> None:
    other = plan_of(tmp_path, recipe="{epochs: 3, batch_size: 64, lr: 0.7}")
    ran(other, other.runs[0], tmp_path, 2.0, took=5.0)
    plan = plan_of(tmp_path)
    assert {each.seconds for each in Survey(plan, tmp_path).look()} == {25.0}
    ran(plan, plan.runs[0], tmp_path, 4.0, took=6.0)
    assert by_name(Survey(plan, tmp_path).look())["hug", 0].seconds == pytest.approx(46.0)


def test_other_suites_with_more_images_are_scaled(tmp_path: Path) -> None:
    other = plan_of(tmp_path, dataset="{name: digits, max_train: 500}")
    ran(other, other.runs[0], tmp_path, 2.0)
    plan = plan_of(tmp_path, dataset="{name: digits, max_train: 1000}")
    assert {each.seconds for each in Survey(plan, tmp_path).look()} == {10 * 4.0 + 1.0}


def test_strangers_that_tell_nothing_are_passed_over(tmp_path: Path) -> None:
    other = plan_of(tmp_path, recipe="{epochs: 3, batch_size: 64, lr: 0.7}")
    for planned, text in zip(other.runs, ("", "{", "[1]", "dataset: 3"), strict=True):
        folder = ran(other, planned, tmp_path, 2.0)
        (folder.path / "run.yaml").write_text(text)
    (tmp_path / "runs" / "a file").write_text("")
    assert list(strangers(tmp_path, ())) == []
    assert list(strangers(tmp_path / "nowhere", ())) == []
    assert len(other.runs) < STRANGERS


def test_of_many_alike_the_newest_are_read(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, criteria="[cross_entropy]", seeds=str(list(range(TEACHERS + 4))))
    for age, planned in enumerate(plan.runs[:-1]):
        folder = ran(plan, planned, tmp_path, 1.0 if age > 2 else 100.0)
        os.utime(folder.status_file, ns=(0, 1 + age))
    assert Survey(plan, tmp_path).look()[-1].seconds == pytest.approx(11.0)


def test_the_hardware_of_the_newest_counts(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    for planned, seconds, hardware, year in zip(
        plan.runs, (1.0, 50.0), ("gpu", "cpu"), (2026, 2025), strict=False
    ):
        ran(plan, planned, tmp_path, seconds, hardware=hardware, when=f"{year}-01-01T00:00:00+00:00")
    assert by_name(Survey(plan, tmp_path).look())["hug", 1].seconds == pytest.approx(11.0)


@pytest.mark.parametrize("text", ["", "{", '{"sessions": []}', '{"sessions": [3]}', '{"sessions": [{}]}'])
def test_a_damaged_environment_is_an_unknown_one(tmp_path: Path, text: str) -> None:
    plan = plan_of(tmp_path)
    folder = ran(plan, plan.runs[0], tmp_path, 2.0)
    (folder.path / "environment.json").write_text(text)
    assert Survey(plan, tmp_path).look()[1].seconds == pytest.approx(21.0)


def test_looked_at_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    survey = Survey(plan, tmp_path)
    assert survey.look()[0].seconds is None
    ran(plan, plan.runs[0], tmp_path, 2.0, epochs=4)
    assert (survey.look()[0].epoch, survey.look()[0].seconds) == (4, 12.0)
    ran(plan, plan.runs[0], tmp_path, 3.0)
    done, hug, *_ = survey.look()
    assert (done.state, done.seconds, hug.seconds) == ("done", 0.0, 31.0)


def test_what_is_done_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path)
    for planned in plan.runs[:3]:
        ran(plan, planned, tmp_path, 2.0)
    survey = Survey(plan, tmp_path)
    first = survey.look()
    reads: list[Path] = []
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, *a, **k: (reads.append(path), read(path, *a, **k))[1])
    assert survey.look() == first
    assert reads == []


def test_damage_is_what_is_missing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    for planned in plan.runs:
        ran(plan, planned, tmp_path, 2.0)
    harmed = plan.runs[1].run.run_id

    def damage(folder: RunFolder, status: Status, key: str) -> str | None:
        return "it is harmed" if folder.run_id == harmed else None

    found = Survey(plan, tmp_path, damage).look()
    assert [each.state for each in found] == ["done", "partly", "done", "done"]
    assert [each.seconds for each in found] == [0.0, 1.0, 0.0, 0.0]


def test_failed_runs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    folder = ran(plan, plan.runs[0], tmp_path, 2.0, epochs=4)
    folder.write_status(Status("failed", error="NonFiniteLoss: no"))
    first, *_ = Survey(plan, tmp_path).look()
    assert (first.state, first.epoch, first.error) == ("failed", 4, "NonFiniteLoss: no")


HOLD = """
import pathlib, sys
from hugbench.results.store import RunFolder
with RunFolder(pathlib.Path(sys.argv[1]), sys.argv[2]).lock() as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kill", [False, True])
def test_who_is_at_a_run(tmp_path: Path, kill: bool) -> None:
    plan = plan_of(tmp_path)
    survey, run_id = Survey(plan, tmp_path), plan.runs[1].run.run_id
    command = [sys.executable, "-c", HOLD, str(tmp_path), run_id]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    holders = [found.holder for found in survey.look()]
    assert holders[0] is None
    assert holders[1] is not None
    assert holders[1].startswith(f"process {process.pid} on ")
    if kill:
        process.kill()
    process.stdin.close()
    process.wait()
    process.stdout.close()
    assert [found.holder for found in survey.look()] == [None] * 4
    with RunFolder(tmp_path, run_id).lock() as mine:
        assert mine


def test_a_log_that_is_no_log(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    folder = ran(plan, plan.runs[0], tmp_path, 2.0, epochs=4)
    folder.log.write_text(json.dumps({"epoch": 0}))
    assert Survey(plan, tmp_path).look()[0].epoch == 0
