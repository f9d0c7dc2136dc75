"""Stopping early: real signals to this very process, a clock that is set by hand."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from hugbench.execution.control import INTERRUPTED, TIME_IS_UP, Control


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_goes_on_until_the_time_is_up_and_never_again() -> None:
    clock = Clock()
    control = Control(5.0, clock)
    clock.now += 4.9
    assert not control.stopping()
    clock.now += 0.1
    assert control.stopping()
    assert control.why == TIME_IS_UP
    clock.now -= 100.0
    assert control.stopping()


def test_without_a_limit_it_goes_on() -> None:
    clock = Clock()
    control = Control(clock=clock)
    clock.now = 1e12
    assert control.why is None


def test_the_first_reason_stays() -> None:
    control = Control()
    control.stop("max runs")
    control.stop("another")
    assert control.why == "max runs"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_and_a_second_one_interrupts(number: int) -> None:
    control, told = Control(), []
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), control.listening(told.append):
        os.kill(os.getpid(), number)
        time.sleep(0)
        assert control.why == INTERRUPTED
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert told == ["stopping at the next checkpoint; once more stops at once"]
    assert signal.getsignal(number) is before


def test_a_signal_after_the_time_is_up_still_asks_first() -> None:
    control, told = Control(), []
    control.stop(TIME_IS_UP)
    with control.listening(told.append):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
    assert control.why == INTERRUPTED
    assert len(told) == 1


def test_it_is_told_from_another_thread_even_where_this_one_holds_what_telling_needs() -> None:
    control, told, console = Control(), [], threading.Lock()

    def tell(sentence: str) -> None:
        with console:
            told.append((sentence, threading.current_thread() is threading.main_thread()))

    with control.listening(tell), console:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        assert control.stopping()
        assert told == []
    assert [mine for _, mine in told] == [False]


def test_outside_the_main_thread_it_listens_to_nothing() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def elsewhere() -> None:
        with Control().listening(lambda sentence: None):
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert inside == [before]
