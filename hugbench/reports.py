"""The verb `report`: a suite's numbers, verdicts and figures in one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugbench import api
from hugbench.comparing import DELTA, compare
from hugbench.errors import UserError, nearest
from hugbench.results.contrasts import CompareReport
from hugbench.results.measured import planned_runs
from hugbench.results.resampling import DRAWS
from hugbench.storage import write_atomic
from hugbench.suite.loader import Suite, load_suite
from hugbench.suite.plan import Plan

FORMATS = {"html": ".html", "md": ".md", "tex": ".tex"}
"""Formats and the suffixes of their files."""


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        suite: its name.
        path: the file.
        form: html, md or tex.
        size: bytes.
        runs: how many runs the suite has.
        done: how many of them are finished.
        notes: sentences on what is missing or could not be read.
    """

    suite: str
    path: Path
    form: str
    size: int
    runs: int
    done: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.suite,
            "path": str(self.path),
            "format": self.form,
            "bytes": self.size,
            "runs": self.runs,
            "done": self.done,
            "notes": list(self.notes),
        }


def report(
    suite: str | Path,
    *,
    settings: Iterable[str] = (),
    seeds: Iterable[int] | None = None,
    criteria: Iterable[str] = (),
    data: str | Path | None = None,
    results: str | Path = "results",
    smoke: bool = False,
    form: str | None = None,
    out: str | Path | None = None,
    delta: float | Mapping[str, float] = DELTA,
    bootstrap: int = DRAWS,
) -> Report:
    """Write what a suite came to: verdicts, tables, figures, and what every number rests on.

    HTML is one page that loads nothing from anywhere. Markdown and LaTeX hold the tables and verdicts of
    `hugbench compare`. What is missing is said in a sentence, and the rest is shown.

    Args:
        suite: a YAML file, or the name of a shipped suite.
        settings: overrides, each `path=value`.
        seeds: instead of the suite's.
        criteria: criteria to add, by name, dotted path or `file.py:Class`.
        data: the data folder, which only a smoke run's plan looks at.
        results: the results folder.
        smoke: report the suite's smoke run.
        form: html, md or tex; by default what the suffix of `out` says, else html.
        out: the file, or a folder for `report.html`; by default `results/suites/SUITE/`.
        delta: differences up to this are as good as none: a number for all fractions, or by metric.
        bootstrap: draws of the bootstrap over seeds and images; 0 for none.

    Raises:
        UserError: bad input, no finished run, or the file cannot be written.
    """
    chosen = _form(form, out)
    given = tuple(settings), None if seeds is None else list(seeds), tuple(criteria)
    loaded = load_suite(suite, settings=given[0], seeds=given[1], criteria=given[2])
    made, root = api.planned(loaded, data, Path(results), smoke)
    compared = compare(
        suite,
        settings=given[0],
        seeds=given[1],
        criteria=given[2],
        data=data,
        results=results,
        smoke=smoke,
        everything=chosen == "html",
        delta=delta,
        bootstrap=bootstrap,
    )
    text = _html(loaded, made, root, given[0], compared) if chosen == "html" else _text(chosen, compared)
    path = _place(out, root / "suites" / made.suite, chosen)
    written = text.encode()
    try:
        write_atomic(path, written)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where="--out", found=str(path)) from None
    distinct = {run.folder.run_id: run for run in planned_runs(made, root)}
    done = sum(not run.status.lacks(list(run.questions)) for run in distinct.values())
    return Report(made.suite, path, chosen, len(written), len(distinct), done, compared.notes)


def _html(loaded: Suite, made: Plan, root: Path, settings: tuple[str, ...], compared: CompareReport) -> str:
    from hugbench.reporting.html.material import Material
    from hugbench.reporting.html.page import page
    from hugbench.reporting.pictures import collapse_pictures

    said: dict[str, None] = {}
    pictures: tuple[Path, ...] = ()
    try:
        pictures = tuple(collapse_pictures(made, root))
    except OSError as error:
        said[f"the pictures could not be written ({error.strerror})"] = None
    return page(
        Material(
            plan=made,
            description=loaded.description,
            source=loaded.source,
            settings=settings,
            report=compared,
            runs=tuple(planned_runs(made, root)),
            pictures=pictures,
            said=said,
        )
    )


def _text(form: str, compared: CompareReport) -> str:
    from hugbench.reporting.exports import to_latex, to_markdown

    return to_markdown(compared) if form == "md" else to_latex(compared)


def _form(asked: str | None, out: str | Path | None) -> str:
    by_suffix = {suffix: name for name, suffix in FORMATS.items()}
    suffix = "" if out is None or Path(out).is_dir() else Path(out).suffix
    chosen = asked or by_suffix.get(suffix, "html")
    if chosen not in FORMATS:
        raise UserError(
            "no such format",
            where="--format",
            found=chosen,
            expected=f"one of: {', '.join(FORMATS)}",
            nearest=nearest(chosen, FORMATS),
        )
    return chosen


def _place(out: str | Path | None, folder: Path, form: str) -> Path:
    if out is None:
        return folder / f"report{FORMATS[form]}"
    path = Path(out)
    return path / f"report{FORMATS[form]}" if path.is_dir() or str(out).endswith(os.sep) else path
