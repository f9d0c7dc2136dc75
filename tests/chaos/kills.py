"""SIGKILL for drivers and workers, at moments that are looked for, and counted by what was struck."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.processes import Driver, Watch, workers

PHASES = ("worker start", "training", "checkpoint writing", "evaluation")
"""When a kill is meant to strike."""


class Kills:
    """What has been killed, and when.

    Args:
        watch: knows what workers are at.
        draw: decides what is left open.

    Attributes:
        counts: by the victim's kind and phase.
    """

    def __init__(self, watch: Watch, draw: random.Random) -> None:
        self.watch, self._draw = watch, draw
        self.counts: Counter[tuple[str, str]] = Counter()

    def strike(self, drivers: Sequence[Driver], kind: str, patience: float) -> str | None:
        """Kill a driver or a worker in the phase that has had the fewest so far, if that comes in time.

        Args:
            drivers: those that may be struck, and whose workers may.
            kind: driver or worker.
            patience: seconds after which any phase will do; after twice as long nothing will.

        Returns:
            The phase of the victim, or of the worker whose driver it was; None if nobody was killed.
        """
        wanted = min(PHASES, key=lambda phase: (self.counts[kind, phase], self._draw.random()))
        begun = time.monotonic()
        while any(driver.alive for driver in drivers) and (waited := time.monotonic() - begun) < 2 * patience:
            for driver in self.shuffled(drivers):
                for pid in workers(driver):
                    phase = self.watch.phase(pid)
                    if phase == wanted or waited > patience:
                        self._linger(phase)
                        if self._execute(driver, pid, kind, phase):
                            return phase
            time.sleep(0.001 if wanted == "checkpoint writing" else 0.02)
        return None

    def at_work(self, drivers: Sequence[Driver], patience: float) -> Driver | None:
        """A driver of which a worker has taken up a run, if that comes in time."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(driver.alive for driver in drivers):
            for driver in self.shuffled(drivers):
                if any(self.watch.phase(pid) in ("training", "evaluation") for pid in workers(driver)):
                    return driver
            time.sleep(0.02)
        return None

    def shuffled(self, drivers: Sequence[Driver]) -> list[Driver]:
        """Those that live, in any order."""
        found = [driver for driver in drivers if driver.alive]
        self._draw.shuffle(found)
        return found

    def _linger(self, phase: str) -> None:
        """Wait for some moment within a phase."""
        longest = {"worker start": 2.0, "checkpoint writing": 0.0}.get(phase, 0.2)
        time.sleep(self._draw.uniform(0, longest))

    def _execute(self, driver: Driver, pid: int, kind: str, phase: str) -> bool:
        """Stop a worker, and kill it or its driver if it is still in a phase.

        Three workers in a row that are killed before they take up a run end a driver, and rightly so.
        """
        if not _signal(pid, signal.SIGSTOP):
            return False
        starting = phase == "worker start" and kind == "worker"
        struck = self.watch.phase(pid) == phase and not (starting and driver.false_starts == 2)
        if struck and kind == "driver":
            driver.send(signal.SIGKILL)
            driver.process.wait()
        elif struck:
            driver.false_starts = driver.false_starts + 1 if starting else 0
            _signal(pid, signal.SIGKILL)
        _signal(pid, signal.SIGCONT)
        self.counts[kind, phase] += struck
        return struck


def _signal(pid: int, number: int) -> bool:
    """Whether there was a process to send a signal to."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
