"""How far each run of a plan is, and how long the rest may take."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from hugbench.results.store import RunFolder
from hugbench.suite.plan import Plan, PlannedRun, Run

Found = tuple[PlannedRun, str, int, str | None, float | None]


def survey(plan: Plan, root: Path) -> Iterator[Found]:
    """(run, state, epochs done, error, estimated seconds left) for each distinct run."""
    states = [
        (planned, *_state(RunFolder(root, planned.run.run_id), plan.keys(planned)))
        for planned in plan.distinct()
    ]
    speeds: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for planned, _, epochs, _ in states:
        speeds[_likeness(planned.run)] += epochs
    for planned, state, epochs, error in states:
        known = speeds[_likeness(planned.run)]
        left = planned.run.epochs - len(epochs)
        seconds = 0.0 if state == "done" else statistics.median(known) * max(left, 0) if known else None
        yield planned, state, len(epochs), error, seconds


def _state(folder: RunFolder, keys: list[str]) -> tuple[str, list[float], str | None]:
    """The state, the seconds of each finished epoch, and the error of a failed run."""
    if not folder.path.exists():
        return "pending", [], None
    status = folder.status()
    epochs = _epoch_seconds(folder.log)
    if status.state == "trained":
        return "partly" if status.lacks(keys) else "done", epochs, None
    return status.state, epochs, status.error


def _epoch_seconds(log: Path) -> list[float]:
    try:
        return [float(json.loads(line)["seconds"]) for line in log.read_text().splitlines()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _likeness(run: Run) -> tuple[object, ...]:
    """Runs that should take equally long per epoch."""
    return run.dataset, run.model, run.protocol, run.recipe.batch_size, run.recipe.precision
