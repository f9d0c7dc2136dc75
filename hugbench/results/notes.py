"""Sentences of the evaluations that must travel with the numbers."""

from __future__ import annotations

from pathlib import Path

from hugbench.results.store import RunFolder
from hugbench.suite.plan import Plan


def notes_of(plan: Plan, root: Path) -> list[str]:
    """Each note once, with the criteria and seeds it is of unless it is of all."""
    told: dict[str, dict[str, list[int]]] = {}
    runs = plan.distinct()
    for planned in runs:
        status = RunFolder(root, planned.run.run_id).status()
        for note in {note for key in plan.keys(planned) for note in status.notes.get(key, [])}:
            told.setdefault(note, {}).setdefault(planned.label, []).append(planned.run.seed)
    notes = []
    for note, arms in sorted(told.items()):
        of = [f"{label} (seed {', '.join(map(str, dict.fromkeys(seeds)))})" for label, seeds in arms.items()]
        everywhere = sum(map(len, arms.values())) == len(runs)
        notes.append(note if everywhere else f"{', '.join(of)}: {note}")
    return notes
