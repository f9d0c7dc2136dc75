"""In this process, one run after the other."""

from __future__ import annotations

import time

from hugbench.execution.control import Control
from hugbench.execution.events import Observer
from hugbench.execution.run import execute
from hugbench.execution.schedule import POLL_SECONDS, Schedule, Tally, Work
from hugbench.execution.where import Where


def serial(where: Where, work: Work, control: Control, observe: Observer) -> Tally:
    """Every run in order. One that another process is at comes last, and is waited for."""
    schedule = Schedule(work, control, observe)
    while not schedule.over:
        planned = schedule.take()
        if planned is None:
            time.sleep(POLL_SECONDS)
            continue
        try:
            result = execute(planned, work.evaluations, work.place, observe, control.stopping)
        except SystemExit as error:  # of a loss: elsewhere it would cost its worker
            if work.place.ranks is not None:
                raise
            schedule.lost(planned, f"was ended by sys.exit({error.code!r})")
            continue
        schedule.settle(planned, result)
    return schedule.tally
