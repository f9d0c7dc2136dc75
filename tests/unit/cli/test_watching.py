from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from hugbench.api import PlanEntry, PlanReport
from hugbench.cli.watching import MOST_FAILURES, picture, watched
from tests.unit.results.timed import plan_of

ME = "process 7 on a-host"


@pytest.fixture
def report(tmp_path: Path) -> PlanReport:
    plan = plan_of(tmp_path)
    return PlanReport(plan, tuple(PlanEntry(run, "pending", 0, None, None) for run in plan.runs), None)


def changed(report: PlanReport, number: int, seconds: float | None = 60.0, **changes: object) -> PlanReport:
    entries = list(report.entries)
    entries[number] = PlanEntry(**{**vars(entries[number]), **changes})  # type: ignore[arg-type]
    return PlanReport(report.plan, tuple(entries), seconds)


@pytest.fixture
def story(report: PlanReport) -> list[PlanReport]:
    """A run that trains, one that is done, one that failed with two lines to say."""
    training = changed(report, 1, state="training", epoch=4, holder=ME)
    done = changed(training, 0, state="done", epoch=10)
    failed = changed(done, 1, state="failed", error="Error: one\ntwo", holder=None)
    return [report, training, training, done, failed]


def piped(story: list[PlanReport], capsys: pytest.CaptureFixture[str], *, as_json: bool) -> list[str]:
    watched(iter(story), as_json, Console(force_terminal=False))
    return capsys.readouterr().out.splitlines()


def test_a_line_for_each_change(story: list[PlanReport], capsys: pytest.CaptureFixture[str]) -> None:
    left = "time left: about 1 min 00 s"
    assert piped(story, capsys, as_json=False) == [
        "suite, 4 runs: 4 pending; time left: unknown until a run like these has finished an epoch",
        f"[0/4] hug, seed 0: training, epoch 4/10, {ME}; {left}",
        f"[1/4] cross_entropy, seed 0: done; {left}",
        f"[2/4] hug, seed 0: FAILED, Error: one two; {left}",
    ]


def test_json_tells_of_the_runs_that_someone_is_at(
    story: list[PlanReport], capsys: pytest.CaptureFixture[str]
) -> None:
    states = [json.loads(line) for line in piped(story, capsys, as_json=True)]
    assert [[(run["criterion"], run["holder"]) for run in state["runs"]] for state in states] == [
        [], [("hug", ME)], [("hug", ME)], [],
    ]  # fmt: skip
    assert states[2]["counts"] == {"done": 1, "training": 1, "pending": 2}


def test_in_a_terminal(story: list[PlanReport]) -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, color_system=None, width=100, _environ={"TERM": "xterm"}
    )
    watched(iter(story), False, console)
    text = stream.getvalue()
    for words in ("0/4 runs", "1/4 runs", "4/10 epochs", ME, "hug, seed 0: FAILED, Error: one two"):
        assert words in text


def test_many_failures_are_counted(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, seeds=str(list(range(MOST_FAILURES))))
    entries = tuple(PlanEntry(run, "failed", 0, "Error: no", 1.0) for run in plan.runs)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(picture(PlanReport(plan, entries, 1.0)))
    assert captured.get().count("FAILED") == MOST_FAILURES
    assert f"{MOST_FAILURES} more failed" in captured.get()


def test_over_is_done_or_failed_with_nobody_at_it(report: PlanReport) -> None:
    for number in range(4):
        assert not report.over
        report = changed(report, number, state="done")
    assert report.over
    assert changed(report, 0, state="failed").over
    assert not changed(report, 0, state="failed", holder=ME).over
    assert not changed(report, 0, state="partly").over
