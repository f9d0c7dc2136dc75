"""The verb report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hugbench.cli.options import (
    NO_LIST,
    Criteria,
    Data,
    Json,
    Results,
    Seeds,
    Setting,
    Smoke,
    SuiteName,
    seeds_of,
)
from hugbench.cli.output import print_json


def report(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="html, md or tex.", show_default="--out's suffix, or html"
        ),
    ] = None,
    out: Annotated[
        str | None,  # a Path would lose the slash at the end of a folder
        typer.Option(
            metavar="FILE",
            help="A file, or a folder for it.",
            show_default="RESULTS/suites/SUITE",
        ),
    ] = None,
    delta: Annotated[
        float,
        typer.Option(metavar="POINTS", help="Differences in a fraction up to this are as good as none."),
    ] = 0.5,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Write a suite's report: verdicts, tables and figures in one HTML page that loads nothing."""
    from hugbench import reports

    written = reports.report(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
        form=form,
        out=out,
        delta=delta / 100,
    )
    if as_json:
        print_json(written.to_json())
    else:
        for note in written.notes:
            typer.echo(f"Note: {note}.", err=True)
        typer.echo(f"{written.path}  ({written.done} of {written.runs} runs, {written.size / 1000:,.0f} kB)")
    if open_:
        typer.launch(str(written.path.resolve()))
