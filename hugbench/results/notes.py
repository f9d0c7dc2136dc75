"""Sentences of the evaluations that must travel with the numbers."""

from __future__ import annotations

from collections.abc import Iterable

from hugbench.results.measured import Measured


def notes_of(runs: Iterable[Measured], *, moments: bool = True) -> list[str]:
    """Each note once, with the criteria and seeds it is of unless it is of all.

    Args:
        runs: whose evaluations.
        moments: those before the end, too.
    """
    told: dict[str, dict[str, list[int]]] = {}
    distinct = {run.folder.path: run for run in reversed(list(runs))}
    for run in reversed(distinct.values()):
        keys = [key for key in run.questions if moments or "." not in key]
        for note in {note for key in keys for note in run.status.notes.get(key, [])}:
            told.setdefault(note, {}).setdefault(run.label, []).append(run.seed)
    notes = []
    for note, arms in sorted(told.items()):
        of = [f"{label} (seed {', '.join(map(str, sorted({*seeds})))})" for label, seeds in arms.items()]
        everywhere = sum(map(len, arms.values())) == len(distinct)
        notes.append(note if everywhere else f"{', '.join(of)}: {note}")
    return notes
