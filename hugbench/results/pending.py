"""Which runs have work left; what killed processes left in the others is removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hugbench.results.progress import Found
from hugbench.results.status import Status
from hugbench.results.store import RunFolder


def with_work(found: Iterable[Found], root: Path) -> list[Found]:
    """The runs of which anything is missing or damaged, in the order in which they come.

    Args:
        found: what `hugbench.results.progress.Survey` sees.
        root: the results folder.
    """
    return [run for run in found if _unfinished(run, RunFolder(root, run.planned.run.run_id))]


def _unfinished(run: Found, folder: RunFolder) -> bool:
    if run.state != "done":
        return True
    status = folder.status()
    if folder.damaged_specification(status):
        return True
    _tidy(folder, status)
    return False


def _tidy(folder: RunFolder, status: Status) -> None:
    """Remove litter, unless another process is at the run."""
    if folder.littered(status):
        with folder.lock() as mine:
            if mine:
                folder.tidy(status)
