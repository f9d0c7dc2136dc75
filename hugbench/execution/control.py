"""Stopping early: by Ctrl-C, by a signal, or when the time is up; always at a checkpoint."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

INTERRUPTED = "interrupted"
TIME_IS_UP = "time limit"


class Stopped(Exception):
    """A run was asked to stop, and has stored all that it needs to go on."""


class Control:
    """Whether a suite goes on. Asked by executors before each run and, through `pause`, by runs.

    Args:
        time_limit: seconds from now after which no run starts and those that are going on stop at
            their next checkpoint; None for none.
        clock: seconds, monotonic: a wall clock that jumps changes nothing.
    """

    def __init__(self, time_limit: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if time_limit is None else clock() + time_limit
        self._why: str | None = None

    def stop(self, why: str) -> None:
        """Ask for an end at the next checkpoints; the first reason stays."""
        self._why = self._why or why

    @property
    def why(self) -> str | None:
        """Why the suite stops early; None while it goes on."""
        if self._why is None and self._end is not None and self._clock() >= self._end:
            self._why = TIME_IS_UP
        return self._why

    def stopping(self) -> bool:
        """Whether an end at the next checkpoints is asked for."""
        return self.why is not None

    @contextmanager
    def listening(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Inside, Ctrl-C (or SIGTERM) stops at the next checkpoint, a second one at once.

        Signals are for the main thread to handle; in another one nothing changes.

        Args:
            tell: is called with a sentence at the first, from a thread of its own: a signal may come in
                the middle of whatever this one is printing.

        Raises:
            KeyboardInterrupt: at the second.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        sentences: SimpleQueue[str | None] = SimpleQueue()

        def heard(number: int, frame: FrameType | None) -> None:
            if self._why == INTERRUPTED:
                raise KeyboardInterrupt
            self._why = INTERRUPTED
            sentences.put("stopping at the next checkpoint; once more stops at once")

        def teller() -> None:
            while sentence := sentences.get():
                tell(sentence)

        thread = threading.Thread(target=teller, daemon=True)
        thread.start()
        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
            sentences.put(None)
            thread.join()
