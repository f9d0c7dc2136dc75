"""Verbs about what numbers are held against: freeze, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hugbench.cli.options import NO_LIST, Criteria, Data, Json, Results, Seeds, Setting, SuiteName, seeds_of
from hugbench.cli.output import print_json


def freeze(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file to write.",
            show_default="baselines/reference/SUITE.jsonl",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every record: single classes, severities and moments, too.")
    ] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Also where the suite is not finished.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a reference that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a finished suite's records and where they come from: the reference that `check` reads."""
    from hugbench import freezing

    done = freezing.freeze(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        out=out,
        everything=everything,
        partial=partial,
        force=force,
    )
    if as_json:
        print_json(done.to_json())
        return
    typer.echo(f"{done.file}: {done.records} records of {done.runs} runs")
    for remark in done.remarks:
        typer.echo(f"Note: {remark}.")


def check(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The reference.",
            show_default="baselines/reference/SUITE.jsonl",
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML there, too.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every number and its tolerance.")] = False,
    as_json: Json = False,
) -> None:
    """Hold a suite's numbers against its reference: exit code 1 if any moved beyond the noise of training.

    2 if something could not be checked, 0 otherwise.
    """
    from hugbench import checking

    report = checking.check(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        reference=reference,
    )
    if junit is not None:
        _write_junit(report, junit)
    if as_json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        from hugbench.reporting.drift import check_tables

        Console().print(check_tables(report, everything))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _write_junit(report: object, file: Path) -> None:
    from hugbench.checking import CheckReport
    from hugbench.errors import UserError
    from hugbench.reporting.drift import junit
    from hugbench.storage import write_atomic

    assert isinstance(report, CheckReport)
    try:
        write_atomic(file, junit(report))
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", where="--junit", found=str(file)) from None


def published(
    dataset: Annotated[str | None, typer.Argument(help="A data set.", show_default="all")] = None,
    as_json: Json = False,
) -> None:
    """Show numbers from papers, each with its source; `compare --published` shows them beside one's own."""
    from hugbench.results import published as numbers

    found = numbers.published(dataset)
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    from hugbench.reporting.published import published_tables

    Console().print(published_tables(found))
