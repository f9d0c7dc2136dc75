"""The verb compare."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hugbench.cli.options import NO_LIST, Criteria, Data, Json, Seeds, Setting, Smoke, seeds_of

if TYPE_CHECKING:
    from hugbench.results.contrasts import CompareReport

RESULTS = [Path("results")]


def compare(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Suites (a YAML file or a shipped name), folders of runs (results/runs/RUN_ID), or results "
            "folders. Two results folders are before and after.",
        ),
    ],
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Annotated[
        list[Path],
        typer.Option("--results", metavar="DIR", help="The results folder. Twice: before, then after."),
    ] = RESULTS,
    smoke: Smoke = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="A criterion.", show_default="the suite's")
    ] = None,
    evaluations: Annotated[
        list[str], typer.Option("--evaluation", metavar="NAME", help="These only. Repeatable.")
    ] = NO_LIST,
    metrics: Annotated[
        list[str],
        typer.Option("--metric", metavar="NAME", help="These, instead of the primary ones. Repeatable."),
    ] = NO_LIST,
    everything: Annotated[
        bool, typer.Option("--all", help="Every metric, subset, severity and moment.")
    ] = False,
    delta: Annotated[
        list[str],
        typer.Option(
            metavar="POINTS",
            help="Differences up to this are as good as none: percentage points for all fractions, or "
            "METRIC=VALUE in the metric's own unit; 0: no test of equality. Repeatable.",
            show_default="0.5",
        ),
    ] = NO_LIST,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", help="Draws of seeds and test images; 0: none.")
    ] = 2000,
    ranks: Annotated[
        str | None, typer.Option(metavar="OVER", help="Rank the criteria, too: over quantities or seeds.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show numbers from papers of the same setting beside.")
    ] = False,
    form: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="text, json, csv, md or latex.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write there; .txt, .json, .csv, .md and .tex say the format."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare every criterion with the baseline, paired by seed, corrected for the number of looks."""
    from hugbench import comparing

    chosen = _format(form, out, as_json)
    report = comparing.compare(
        *targets,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
        baseline=baseline,
        evaluations=evaluations,
        metrics=metrics,
        everything=everything,
        delta=_deltas(delta),
        bootstrap=bootstrap,
        published=published,
        ranks=ranks,
    )
    _put(report, chosen, out)


def _format(form: str | None, out: Path | None, as_json: bool) -> str:
    from hugbench.errors import UserError, nearest
    from hugbench.reporting.exports import FORMATS, SUFFIXES

    if as_json and form not in (None, "json"):
        raise UserError("two formats at once", where="--format", found=form, expected="--json or --format")
    chosen = "json" if as_json else form or (SUFFIXES.get(out.suffix, "text") if out else "text")
    if chosen not in FORMATS:
        raise UserError(
            "no such format",
            where="--format",
            found=chosen,
            expected=f"one of: {', '.join(FORMATS)}",
            nearest=nearest(chosen, FORMATS),
        )
    return chosen


def _deltas(given: list[str]) -> dict[str, float]:
    """Tolerances by metric, `` for all fractions; per cent become fractions."""
    from hugbench.errors import UserError
    from hugbench.reporting.tables import is_fraction

    found = {}
    for text in given:
        metric, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise UserError(
                "not a tolerance",
                where="--delta",
                found=text,
                expected="points of 0 or more, or METRIC=VALUE",
            )
        found[metric] = value / 100 if not metric or is_fraction(metric) else value
    return found


def _put(report: CompareReport, form: str, out: Path | None) -> None:
    from hugbench.errors import UserError
    from hugbench.reporting.exports import FORMATS

    if out is not None:
        from hugbench.storage import write_atomic

        try:
            write_atomic(out, FORMATS[form](report).encode())
        except OSError as error:
            raise UserError(f"cannot be written ({error.strerror})", where="--out", found=str(out)) from None
        typer.echo(f"written: {out}", err=True)
    elif form == "text":
        from rich.console import Console

        from hugbench.reporting.contrasts import compare_tables

        Console().print(compare_tables(report))
    else:
        sys.stdout.write(FORMATS[form](report))
