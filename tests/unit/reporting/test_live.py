"""The displays of a running suite, fed with events."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from hugbench.execution.events import (
    EpochDone,
    Evaluated,
    Event,
    Notice,
    Printed,
    RunDone,
    RunFailed,
    RunStarted,
    RunWaiting,
    SuiteStarted,
)
from hugbench.reporting.live import LINE_SECONDS, LiveDisplay, PlainLines, observer
from hugbench.reporting.progress import Progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def epoch(
    run_id: str, number: int, epochs: int = 4, seconds: float = 2.0, accuracy: float = 0.5
) -> EpochDone:
    return EpochDone(run_id, number, epochs, 1.25, accuracy, 12345.6, seconds)


def lines(events: list[Event], clock: Clock | None = None) -> list[str]:
    stream = io.StringIO()
    with PlainLines(Console(file=stream, width=60), clock or Clock()) as watch:
        for event in events:
            watch(event)
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    return stream.getvalue().splitlines()


def picture(display: LiveDisplay, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(display)
    return stream.getvalue()


def live(clock: Clock | None = None) -> LiveDisplay:
    return LiveDisplay(Console(file=io.StringIO(), force_terminal=True, width=80), clock or Clock())


STARTED = SuiteStarted("quickstart", 6, 4, "results")


def test_plain_lines_tell_the_whole_story() -> None:
    told = lines(
        [
            Notice("records/x.jsonl does not match its checksum; it is redone"),
            STARTED,
            RunStarted("a", "hug", 0, 4),
            epoch("a", 0),
            Evaluated("a", "accuracy", "accuracy", 0.97222),
            Evaluated("a", "calibration", "temperature", 0.05),
            RunDone("a", "hug", 0, 75.0),
            RunStarted("b", "hug", 1, 4, first_epoch=3),
            RunFailed("b", "hug", 1, "ValueError: over\n  two lines"),
            RunDone("c", "hug", 2, 0.1, reused=True),
            RunWaiting("d", "hug[recipe.lr=0.1]", 3, "process 7 on host"),
        ]
    )
    assert told == [
        "Note: records/x.jsonl does not match its checksum; it is redone",
        "quickstart: 6 runs, 2 done before, results in results",
        "hug, seed 0: training, 4 epochs",
        "[3/6] hug, seed 0: done in 1 min 15 s, accuracy 97.22 %",
        "hug, seed 1: goes on after epoch 3 of 4",
        "[4/6] hug, seed 1: FAILED, ValueError: over two lines",
        "[5/6] hug, seed 2: done already",
        "hug[recipe.lr=0.1], seed 3: waiting for process 7 on host, which is at it",
    ]


def test_a_finished_suite_is_one_line() -> None:
    assert lines([SuiteStarted("quickstart", 6, 0, "results")]) == ["quickstart: 6 runs, nothing left to do"]


def test_fast_epochs_are_told_every_ten_seconds_only() -> None:
    clock, stream = Clock(), io.StringIO()
    watch = PlainLines(Console(file=stream, width=60), clock)
    watch(RunStarted("a", "hug", 0, 50))
    for number in range(50):
        clock.now += 1.0
        watch(epoch("a", number, 50))
    told = [int(found) for found in re.findall(r"epoch (\d+)/50", stream.getvalue())]
    assert told == [10, 20, 30, 40, 50]


def test_slow_epochs_are_all_told() -> None:
    clock, stream = Clock(), io.StringIO()
    watch = PlainLines(Console(file=stream, width=60), clock)
    watch(STARTED)
    watch(RunStarted("a", "hug", 0, 3))
    for number in range(3):
        clock.now += LINE_SECONDS
        watch(epoch("a", number, 3, seconds=LINE_SECONDS))
    told = stream.getvalue().splitlines()[2:]
    assert len(told) == 3
    assert told[0] == (
        "hug, seed 0: epoch 1/3, loss 1.25, train accuracy 50.0 %, 12,346 images/s, about 1 min 50 s left"
    )


def test_an_accuracy_that_is_no_number_is_left_out() -> None:
    clock, stream = Clock(), io.StringIO()
    watch = PlainLines(Console(file=stream, width=60), clock)
    clock.now += LINE_SECONDS
    watch(epoch("a", 0, accuracy=float("nan")))
    assert stream.getvalue().strip() == "a: epoch 1/4, loss 1.25, 12,346 images/s"


def test_time_left_counts_epochs_of_all_pending_runs_and_what_lies_beside() -> None:
    progress = Progress()
    progress.note(STARTED)
    progress.note(RunStarted("a", "hug", 0, 4))
    assert progress.seconds_left() is None
    progress.note(epoch("a", 0, seconds=1.0))
    progress.note(epoch("a", 1, seconds=3.0))
    assert progress.seconds_left() == (2 + 3 * 4) * 2.0  # 2 epochs of a, 3 runs that have not begun
    progress.note(epoch("a", 2, seconds=2.0))
    progress.note(epoch("a", 3, seconds=2.0))
    progress.note(RunDone("a", "hug", 0, 13.0))  # 8 s of epochs, 5 s of evaluation
    assert progress.seconds_left() == 3 * 4 * 2.0 + 3 * 5.0
    progress.note(RunStarted("b", "hug", 1, 4, first_epoch=3))
    assert progress.seconds_left() == (1 + 2 * 4) * 2.0 + 3 * 5.0
    progress.note(RunFailed("b", "hug", 1, "ValueError"))
    assert progress.seconds_left() == 2 * 4 * 2.0 + 2 * 5.0
    assert progress.behind == 4


def test_time_left_is_that_of_runs_side_by_side() -> None:
    progress = Progress()
    progress.note(SuiteStarted("quickstart", 6, 6, "results", workers=4))
    progress.note(RunStarted("a", "hug", 0, 4))
    progress.note(epoch("a", 0, seconds=2.0))
    assert progress.seconds_left() == (3 + 5 * 4) * 2.0 / 4  # by what is to come, as one has just begun
    progress.note(RunStarted("b", "hug", 1, 4))
    for number in (1, 2, 3):
        progress.note(epoch("a", number, seconds=2.0))
    progress.note(RunDone("a", "hug", 0, 9.0))  # 1 s beside training
    assert progress.at_once == 2
    assert progress.seconds_left() == (5 * 4 * 2.0 + 5 * 1.0) / 2  # no more than two ever went on at a time
    for run_id in "cdef":
        progress.note(RunDone(run_id, "hug", 2, 0.0, reused=True))
    assert progress.seconds_left() == 4 * 2.0 + 0.2  # the last is alone


def test_time_left_is_no_less_than_that_of_the_longest_run() -> None:
    progress = Progress()
    progress.note(SuiteStarted("quickstart", 4, 4, "results", workers=4))
    progress.note(RunStarted("short", "hug", 0, 2))
    progress.note(RunStarted("long", "hug", 1, 50))
    progress.note(epoch("short", 0, 2))
    assert progress.seconds_left() == 50 * 2.0  # more than a fourth of (1 + 3 * 50) * 2


def test_time_left_ends_at_zero() -> None:
    progress = Progress()
    progress.note(SuiteStarted("quickstart", 1, 1, "results"))
    progress.note(RunStarted("a", "hug", 0, 1))
    progress.note(epoch("a", 0, 1))
    progress.note(RunDone("a", "hug", 0, 2.5))
    assert progress.seconds_left() == 0.0


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_live_picture_has_bars_figures_and_time(width: int) -> None:
    clock = Clock()
    display = live(clock)
    assert "preparing" in picture(display)
    display(STARTED)
    display(RunStarted("a", "hug[recipe.lr=0.1]", 0, 4))
    assert "time left: known after the first epoch" in picture(display)
    display(epoch("a", 0))
    text = picture(display, width)
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"quickstart .*2/6 runs", text)
    assert re.search(r"hug\[recipe.lr=0.1\], seed 0 .*1/4 epochs", text)
    assert "loss 1.25, train accuracy 50.0 %, 12,346 images/s" in text
    assert "about 30 s left" in text  # 3 + 3 · 4 epochs of 2 s


def test_time_left_runs_down_between_events() -> None:
    clock = Clock()
    display = live(clock)
    for event in (STARTED, RunStarted("a", "hug", 0, 4), epoch("a", 0)):
        display(event)
    clock.now += 12.0
    assert "about 18 s left" in picture(display)
    clock.now += 100.0
    assert "any moment now" in picture(display)


def test_finished_runs_scroll_and_bars_disappear() -> None:
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=80)) as display:
        for event in (STARTED, RunStarted("a", "hug", 0, 1), epoch("a", 0, 1)):
            display(event)
        display(Evaluated("a", "accuracy", "accuracy", 0.97222))
        display(RunDone("a", "hug", 0, 3.0))
        assert "epochs" not in picture(display)
    text = stream.getvalue()
    assert "[3/6] hug, seed 0: done in 3 s, accuracy 97.22 %" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back


def test_the_cursor_comes_back_after_an_interruption() -> None:
    stream = io.StringIO()

    def interrupted() -> None:
        with LiveDisplay(Console(file=stream, force_terminal=True, width=80)) as display:
            display(STARTED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_several_runs_have_a_bar_each_within_the_terminals_height(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=10)
    display = LiveDisplay(console, Clock())
    display(SuiteStarted("quickstart", 20, 20, "results", workers=12))
    for number in range(12):
        display(RunStarted(f"run {number}", "hug[recipe.lr=0.1]", number, 4))
        display(epoch(f"run {number}", 0))
    text = picture(display, width)
    assert len(text.splitlines()) <= 10 - 1  # the cursor has the last
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"seed 0 .*loss 1.25 +1/4 epochs", text)
    assert len(re.findall("1/4 epochs", text)) == 6
    assert "and 6 more" in text
    for number in range(11):
        display(RunDone(f"run {number}", "hug[recipe.lr=0.1]", number, 9.0))
    assert "loss 1.25, train accuracy 50.0 %, 12,346 images/s" in picture(display, width)


def test_what_a_worker_prints_scrolls_by() -> None:
    assert lines([Printed("[bold]of a loss[/bold]")]) == ["[bold]of a loss[/bold]"]


def test_plain_lines_say_how_many_run_at_a_time() -> None:
    told = lines([SuiteStarted("quickstart", 6, 4, "results", workers=2)])
    assert told == ["quickstart: 6 runs, 2 done before, up to 2 at a time, results in results"]


def test_a_finished_suite_shows_no_bars() -> None:
    display = live()
    display(SuiteStarted("quickstart", 6, 0, "results"))
    assert picture(display).strip() == ""


def test_bars_only_where_the_terminal_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(observer(True, terminal), LiveDisplay)
    assert isinstance(observer(False, Console(file=io.StringIO())), PlainLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(observer(True, Console(file=io.StringIO(), force_terminal=True)), PlainLines)
