"""In which order runs start, and when the last of them ends."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from hugbench.results.progress import Found

Urgency = tuple[bool, bool, float]


def longest_first(runs: Sequence[Found]) -> list[Found]:
    """Runs in the order in which to start them; those that are alike stay as they are.

    First what is in training already: a suite that is stopped again and again should bring runs to their
    end, not begin ever more of them. Then what cannot be estimated, most epochs first, since it may be
    long and its first epoch says how long. Then the longest first, so that no long run is left for the
    end, when all workers but one have nothing to do.

    A baseline whose model others are looked at beside comes just before the first of these.
    """
    urgencies = {found.planned.run.run_id: _urgency(found) for found in runs}
    for found in runs:
        reference = found.planned.reference
        if reference is None or reference.run_id not in urgencies:
            continue
        if any(question.spec.paired for question in found.missing):
            urgencies[reference.run_id] = min(urgencies[reference.run_id], _urgency(found))
    return sorted(runs, key=lambda found: urgencies[found.planned.run.run_id])


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last run ends if a worker that is free takes the longest that is left."""
    free = [0.0] * max(1, workers)
    for length in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def _urgency(found: Found) -> Urgency:
    """Small is first."""
    begun, epochs = found.state == "training", found.planned.run.epochs - found.epoch
    known = found.seconds is not None
    return not begun, known, -(found.seconds if found.seconds is not None else epochs)
