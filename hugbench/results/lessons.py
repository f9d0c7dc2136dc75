"""What the folder of a run teaches about the time that such runs take."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hugbench.errors import UserError
from hugbench.results.folders import specification_in
from hugbench.results.store import RunFolder, Status
from hugbench.results.traits import Traits, traits_of

STRANGERS = 500
"""Of so many runs at most that no question is asked of, the newest, the folders are read."""


@dataclass(frozen=True)
class Lesson:
    """What one run took.

    Attributes:
        of: what kind of run it is.
        hardware: what it was last on; None if that is not known.
        when: it was last taken up, as ISO 8601; empty if that is not known.
        epoch: seconds of an epoch, in the mean; None before the first.
        evaluations: seconds of each finished evaluation, by its `NAME-HASH`.
    """

    of: Traits
    hardware: str | None
    when: str
    epoch: float | None
    evaluations: Mapping[str, float] = field(default_factory=dict)


def lesson_of(folder: RunFolder, of: Traits, status: Status, asked: Mapping[str, str]) -> Lesson:
    """What a run took.

    Args:
        folder: where it lies.
        of: its traits.
        status: what of it is finished.
        asked: `NAME-HASH` of its evaluations by the key that they are stored under, where they differ.
    """
    epochs = epoch_seconds(folder.log)
    took = {key: seconds for key, seconds in status.took.items() if key in status.evaluations}
    return Lesson(
        of,
        *_last_session(folder.path / "environment.json"),
        statistics.fmean(epochs) if epochs else None,
        {asked.get(key, key.partition(".")[0]): seconds for key, seconds in took.items()},
    )


def strangers(root: Path, own: Collection[str]) -> Iterator[Lesson]:
    """What other trained runs of a results folder took, the newest of them.

    Args:
        root: the results folder.
        own: ids of the runs to leave out.
    """
    try:
        with os.scandir(root / "runs") as entries:
            found = [(entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.name not in own]
    except OSError:
        return
    for _, name in sorted(found, reverse=True)[:STRANGERS]:
        folder = RunFolder(root, name)
        try:
            status, of = folder.status(), traits_of(specification_in(folder.path)[0])
        except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # nothing to learn from
        if status.state == "trained":
            yield lesson_of(folder, of, status, {})


def epoch_seconds(log: Path) -> list[float]:
    """Seconds of each finished epoch; empty where there is no readable log."""
    try:
        return [float(json.loads(line)["seconds"]) for line in log.read_text().splitlines()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _last_session(path: Path) -> tuple[str | None, str]:
    """The hardware of the newest session, and when it began."""
    try:
        session = json.loads(path.read_text())["sessions"][-1]
        return session["device_name"], session["started"]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None, ""
