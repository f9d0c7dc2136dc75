"""Verbs on a suite: run, plan, status, validate, records, cards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hugbench.cli.options import (
    NO_LIST,
    AtATime,
    Criteria,
    Data,
    Json,
    Results,
    Seeds,
    Setting,
    Smoke,
    SuiteName,
    seconds_of,
    seeds_of,
)
from hugbench.cli.output import interruptible, kept_for_json, print_json, progress

WHERE = "Where runs happen"
"""The heading above the options of executors."""


def run(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    smoke: Smoke = False,
    track: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="Log to tensorboard, wandb or mlflow as well. Repeatable."),
    ] = NO_LIST,
    max_runs: Annotated[
        int | None, typer.Option(metavar="N", help="Take up at most N runs, then end.")
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop at the next checkpoint after so long: 90, 90s, 30m, 12h."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read every file of finished evaluations again, not only what has changed."
        ),
    ] = False,
    as_json: Json = False,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="local (several processes), serial (this one), ray or slurm.",
            show_default="HUGBENCH_EXECUTOR, or local",
            rich_help_panel=WHERE,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Local, Ray, Slurm: runs at a time.",
            show_default="local: one for each GPU, or as many as pay; ray: as have room; slurm: 256",
            rich_help_panel=WHERE,
        ),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Ray, Slurm: GPUs of a run; for Ray a fraction, too.",
            show_default="1 on GPUs",
            rich_help_panel=WHERE,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Ray: of a running cluster (HOST:PORT), auto, or local, which starts one for this suite.",
            show_default="RAY_ADDRESS, or local",
            rich_help_panel=WHERE,
        ),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Slurm: where jobs run.", rich_help_panel=WHERE)
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Slurm: longest time of a job, which is then requeued and goes on.",
            show_default="4h",
            rich_help_panel=WHERE,
        ),
    ] = None,
    array_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Slurm: jobs of an array at most.",
            show_default="1000",
            rich_help_panel=WHERE,
        ),
    ] = None,
    sbatch: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUE",
            help="Slurm: a further parameter of sbatch, e.g. account=me, mem=32GB, setup='module load cuda'. "
            "Repeatable.",
            rich_help_panel=WHERE,
        ),
    ] = NO_LIST,
    slurm_cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Slurm: slurm, or local to try it out on this machine.",
            show_default="slurm",
            rich_help_panel=WHERE,
        ),
    ] = None,
) -> None:
    """Run what is missing of a suite and compare every criterion with the baseline."""
    from rich.console import Console

    from hugbench import api
    from hugbench.execution.processes import speaks
    from hugbench.execution.where import executor as executor_of
    from hugbench.reporting.live import observer
    from hugbench.reporting.terminal import outcome_report

    options = {
        "workers": workers,
        "ray_address": ray_address,
        "gpus_per_run": gpus_per_run,
        "partition": partition,
        "time": None if time is None else seconds_of(time, "--time"),
        "array_size": array_size,
        "sbatch": tuple(sbatch) or None,
        "slurm_cluster": slurm_cluster,
    }
    where = executor_of(executor, options)
    console = Console(stderr=as_json, quiet=not speaks())
    shown = console.is_terminal and speaks()
    with interruptible(), kept_for_json(as_json), observer(shown, console) as watch:
        outcome = api.run(
            suite,
            settings=settings,
            seeds=seeds_of(seeds),
            criteria=criteria,
            data=data,
            results=results,
            device=device,
            smoke=smoke,
            track=track,
            executor=where,
            max_runs=max_runs,
            time_limit=None if time_limit is None else seconds_of(time_limit, "--time-limit"),
            verify=verify,
            observer=watch,
        )
    if as_json and speaks():
        print_json(outcome.to_json())
    elif speaks():
        outcome_report(
            outcome.comparison, outcome.failed, outcome.notes, outcome.folder, console, outcome.pictures
        )
    if outcome.stopped and speaks():
        left = len({p.run.run_id for p in outcome.plan.runs} - {*outcome.done, *outcome.failed})
        are_left = "1 run is left" if left == 1 else f"{left} runs are left"
        typer.echo(f"stopped early ({outcome.stopped}): {are_left}; the same command goes on", err=True)
    if outcome.failed:
        raise typer.Exit(3)
    if outcome.stopped:
        raise typer.Exit(130 if outcome.stopped == "interrupted" else 4)


def plan(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    workers: AtATime = None,
    as_json: Json = False,
) -> None:
    """Show what a suite would run, what of it is done, and an estimate of the time."""
    from hugbench import api

    report = api.plan(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
        workers=workers,
    )
    progress(report, as_json, every_run=False)


def status(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    workers: AtATime = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until all is done or Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how far a suite is, run by run, and who is at it.

    With --watch it is drawn anew in a terminal, and elsewhere told in a line for each change; with --json,
    too, a line is the state after a change, and has those runs only that someone is at.
    """
    from hugbench import api

    reports = api.watch(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
        workers=workers,
    )
    if not watch:
        progress(next(reports), as_json, every_run=True)
        return
    from rich.console import Console

    from hugbench.cli.watching import watched

    try:
        watched(reports, as_json, Console())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def validate(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Check a suite without running anything."""
    from hugbench import api
    from hugbench.suite.plan import make_plan

    loaded = api.validate(suite, settings=settings, seeds=seeds_of(seeds), criteria=criteria, data=data)
    runs = len(make_plan(loaded).distinct())
    if as_json:
        print_json({"suite": loaded.name, "source": str(loaded.source), "valid": True, "runs": runs})
    else:
        typer.echo(f"{loaded.source}: valid, {runs} runs")


def records(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Print every number of a suite: a flat table, CSV or a JSON array."""
    from hugbench import api
    from hugbench.results.records import COLUMNS

    rows = api.records(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
    )
    if as_json:
        print_json(rows)
    elif as_csv:
        import csv

        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    else:
        from rich.console import Console

        from hugbench.reporting.terminal import records_table

        Console().print(records_table(rows))


def cards(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Print the reliability card of every adversarial figure of a suite: its checks, numbers and verdict."""
    from hugbench import api

    found = api.cards(
        suite,
        settings=settings,
        seeds=seeds_of(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
    )
    if as_json:
        print_json(found)
    else:
        from rich.console import Console

        from hugbench.reporting.card import cards_report

        Console().print(cards_report(found))
