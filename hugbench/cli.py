"""The command line: verbs over the public functions of the same names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hugbench.api import PlanReport

app = typer.Typer(
    name="hugbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SuiteName = Annotated[str, typer.Argument(help="A suite: a YAML file, or the name of a shipped one.")]
Setting = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Override anything, e.g. recipe.epochs=2. Repeatable."),
]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="0,1,2", help="Instead of the suite's seeds.")]
Criteria = Annotated[
    list[str],
    typer.Option(
        "--criterion",
        metavar="NAME",
        help="Add a criterion: a name, a dotted path, FILE.py:Class or a baseline's FILE.yaml. Repeatable.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The data folder.  [default: HUGBENCH_DATA, or data]",
        show_default=False,
    ),
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="The results folder.")]
Smoke = Annotated[
    bool,
    typer.Option("--smoke", help="End to end with a sliver of data, one epoch, one seed, in RESULTS/smoke."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NO_LIST: list[str] = []


def _version(asked: bool) -> None:
    if asked:
        from hugbench import __version__

        typer.echo(f"hugbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Is a training loss really better than cross-entropy, and at what?"""


@app.command()
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
    as_json: Json = False,
) -> None:
    """Run what is missing of a suite and compare every criterion with the baseline."""
    from rich.console import Console

    from hugbench import api
    from hugbench.reporting.live import observer
    from hugbench.reporting.terminal import outcome_report

    console = Console(stderr=as_json)
    with observer(console.is_terminal, console) as watch:
        outcome = api.run(
            suite,
            settings=settings,
            seeds=_seeds(seeds),
            criteria=criteria,
            data=data,
            results=results,
            device=device,
            smoke=smoke,
            track=track,
            observer=watch,
        )
    if as_json:
        _print_json(outcome.to_json())
    else:
        outcome_report(
            outcome.comparison, outcome.failed, outcome.notes, outcome.folder, console, outcome.pictures
        )
    if outcome.failed:
        raise typer.Exit(3)


@app.command()
def plan(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Show what a suite would run, what of it is done, and an estimate of the time."""
    from hugbench import api

    report = api.plan(
        suite,
        settings=settings,
        seeds=_seeds(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
    )
    _progress(report, as_json, every_run=False)


@app.command()
def status(
    suite: SuiteName,
    settings: Setting = NO_LIST,
    seeds: Seeds = None,
    criteria: Criteria = NO_LIST,
    data: Data = None,
    results: Results = Path("results"),
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Show how far a suite is, run by run."""
    from hugbench import api

    report = api.status(
        suite,
        settings=settings,
        seeds=_seeds(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
    )
    _progress(report, as_json, every_run=True)


@app.command()
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

    loaded = api.validate(suite, settings=settings, seeds=_seeds(seeds), criteria=criteria, data=data)
    runs = len(make_plan(loaded).distinct())
    if as_json:
        _print_json({"suite": loaded.name, "source": str(loaded.source), "valid": True, "runs": runs})
    else:
        typer.echo(f"{loaded.source}: valid, {runs} runs")


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(help="criteria, datasets, backbones, evaluations, protocols, strategies or suites."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what a suite can name (backbones only when asked for).

    `strategies` shows what each of them does with the criterion.
    """
    from hugbench import describe

    if kind == "strategies":
        _strategies(describe.strategies(), as_json)
        return
    found = describe.entries(kind)
    if as_json:
        _print_json([{"kind": entry.kind, "name": entry.name, "summary": entry.summary} for entry in found])
    else:
        for name in dict.fromkeys(entry.kind for entry in found):
            _table(name, ["name", ""], [[e.name, e.summary] for e in found if e.kind == name])


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name that `hugbench list` shows.")], as_json: Json = False
) -> None:
    """Show one criterion, baseline, evaluation, strategy, data set or suite: equation, arguments, source."""
    from hugbench import describe

    found = describe.show(name)
    if as_json:
        _print_json(found)
        return
    typer.echo(f"{found['kind']} {name}\n")
    if found.get("doc"):
        typer.echo(f"{found['doc']}\n")
    if found.get("arguments"):
        rows = [
            [arg["name"], arg["type"], "required" if arg["default"] is None else arg["default"]]
            for arg in found["arguments"]
        ]
        _table("Arguments", ["name", "type", "default"], rows)
    if found.get("baseline"):
        texts = found["baseline"].items()
        rows = [[key, text if isinstance(text, str) else json.dumps(text)] for key, text in texts]
        _table("Baseline", ["", ""], rows)
    for key in ("target", "file"):
        if key in found:
            typer.echo(f"{key}: {found[key]}")


@app.command()
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
        seeds=_seeds(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
    )
    if as_json:
        _print_json(rows)
    elif as_csv:
        import csv

        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    else:
        from rich.console import Console

        from hugbench.reporting.terminal import records_table

        Console().print(records_table(rows))


@app.command()
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
        seeds=_seeds(seeds),
        criteria=criteria,
        data=data,
        results=results,
        smoke=smoke,
    )
    if as_json:
        _print_json(found)
    else:
        from rich.console import Console

        from hugbench.reporting.card import cards_report

        Console().print(cards_report(found))


@app.command()
def corrupt(
    dataset: Annotated[str, typer.Argument(help="A known data set, or a folder of the data folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            metavar="FOG,SNOW",
            help="Which corruptions.  [default: the 15 of CIFAR-C]",
            show_default=False,
        ),
    ] = None,
    severities: Annotated[
        str, typer.Option("--severities", metavar="1,2,3", help="Which severities.")
    ] = "1,2,3,4,5",
    seed: Annotated[int, typer.Option(help="Of the randomness.")] = 0,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    frost_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Photographs of frost.  [default: textures of its own]", show_default=False
        ),
    ] = None,
    data: Data = None,
    image_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Resize to this many pixels square first.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Write a folder of corrupted images in the layout of CIFAR-10-C; the same command again goes on."""
    from hugbench import corrupting
    from hugbench.evaluations.corruption.names import KINDS

    done = corrupting.corrupt(
        dataset,
        out,
        kinds=KINDS if kinds is None else [name.strip() for name in kinds.split(",")],
        severities=_numbers(severities, "--severities", "severities"),
        seed=seed,
        split=split,
        frost_dir=frost_dir,
        data=data,
        image_size=image_size,
        device=device,
        notify=lambda sentence: typer.echo(sentence, err=True),
    )
    if as_json:
        _print_json(done.to_json())
    else:
        typer.echo(f"{done.folder}: {len(done.written)} kinds written, {len(done.kept)} were there")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a suite, for editors."""
    from hugbench.suite.jsonschema import json_schema

    _print_json(json_schema())


@app.command()
def export(
    run_id: Annotated[str, typer.Argument(help="A run's id, as `hugbench status SUITE` shows it.")],
    directory: Annotated[Path, typer.Argument(help="A new folder.")],
    moment: Annotated[
        str | None, typer.Option(metavar="NAME", help="A kept moment before the end, e.g. experience-3.")
    ] = None,
    data: Data = None,
    results: Results = Path("results"),
) -> None:
    """Write a run's classifier to a folder: weights, configuration, model card, backbone for timm."""
    from hugbench import api

    def say(sentence: str) -> None:
        typer.echo(sentence, err=True)

    written = api.export(run_id, directory, moment=moment, data=data, results=results, notify=say)
    typer.echo(f"{written}: hugbench.Classifier.load reads it")


@app.command()
def doctor(data: Data = None, as_json: Json = False) -> None:
    """Show versions, devices, and which data sets are found where."""
    from hugbench import api, describe

    found = describe.doctor(api.data_folder(data))
    if as_json:
        _print_json(found)
        return
    _table(
        "Versions",
        ["", ""],
        [["python", found["python"]], *[[k, v or "missing"] for k, v in found["packages"].items()]],
    )
    _table(
        "Devices",
        ["", ""],
        [["cpu", found["cpu"]], *[[name, ""] for name in found["devices"] if name != "cpu"]],
    )
    _table(
        f"Data sets in {found['data']}",
        ["name", "found"],
        [[k, v or "no"] for k, v in found["datasets"].items()],
    )


def main() -> None:
    """Entry point: user errors in a line, exit code 2; an interruption is 130."""
    from hugbench.errors import HugbenchError

    try:
        app()
    except HugbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what is finished", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


def _seeds(text: str | None) -> list[int] | None:
    return None if text is None else _numbers(text, "--seeds", "seeds")


def _numbers(text: str, option: str, what: str) -> list[int]:
    from hugbench.errors import UserError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"not {what}", where=option, found=text, expected="whole numbers and commas, e.g. 0,1,2"
        ) from None


def _progress(report: PlanReport, as_json: bool, *, every_run: bool) -> None:
    from hugbench.reporting.terminal import duration

    if as_json:
        _print_json(report.to_json())
        return
    shown = report.entries if every_run else report.entries[:20]
    rows = [
        [
            e.planned.run.run_id,
            e.planned.label,
            e.planned.variant or "-",
            str(e.planned.run.seed),
            e.state,
            f"{e.epoch}/{e.planned.run.epochs}",
            e.error or "",
        ]
        for e in shown
    ]
    _table(report.plan.suite, ["run", "criterion", "variant", "seed", "state", "epochs", "error"], rows)
    if len(shown) < len(report.entries):
        typer.echo(f"... and {len(report.entries) - len(shown)} more; `hugbench status` shows all")
    counts = ", ".join(f"{count} {state}" for state, count in report.counts().items())
    left = (
        "unknown until a run like these has finished an epoch"
        if report.seconds is None
        else f"about {duration(report.seconds)}"
    )
    typer.echo(f"{len(report.entries)} runs: {counts}; time left: {left}")


def _strategies(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        _print_json(rows)
        return
    columns = ["strategy", "new images", "replayed images", "beside the criterion", "memory"]
    _table(
        "What strategies do with the criterion", columns, [[row[name] for name in columns] for row in rows]
    )
    _table("strategies", ["name", ""], [[row["strategy"], row["summary"]] for row in rows])


def _table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    from rich.console import Console

    from hugbench.reporting.terminal import simple_table

    Console().print(simple_table(title, columns, rows))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
