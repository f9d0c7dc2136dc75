"""Where runs happen. Only here, in one process, one after the other; the run itself does not know."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hugbench.execution.events import Observer, RunWaiting
from hugbench.execution.run import Place, execute
from hugbench.results.store import RunFolder
from hugbench.suite.plan import PlannedRun
from hugbench.suite.plugins import EvaluationSpec

POLL_SECONDS = 0.5


@dataclass
class Tally:
    """Ids of the runs that are done, and of those that failed."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def serial(
    runs: Sequence[PlannedRun], evaluations: tuple[EvaluationSpec, ...], place: Place, observe: Observer
) -> Tally:
    """Every run in order. One that another process is at comes last, and is waited for."""
    queue, tally = deque(runs), Tally()
    busy: set[str] = set()
    while queue:
        planned = queue.popleft()
        run_id = planned.run.run_id
        result = execute(planned, evaluations, place, observe)
        if result == "done":
            tally.done.append(run_id)
        elif result == "failed":
            tally.failed.append(run_id)
        else:
            if run_id not in busy:
                holder = RunFolder(place.results, run_id).holder()
                observe(RunWaiting(run_id, planned.label, planned.run.seed, holder))
            busy.add(run_id)
            queue.append(planned)
            if all(waiting.run.run_id in busy for waiting in queue):
                time.sleep(POLL_SECONDS)
            continue
        busy.discard(run_id)
    return tally
