"""Verbs that tell what there is: list, show, schema, doctor."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hugbench.cli.options import Data, Json
from hugbench.cli.output import print_json, table


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
        print_json([{"kind": entry.kind, "name": entry.name, "summary": entry.summary} for entry in found])
    else:
        for name in dict.fromkeys(entry.kind for entry in found):
            table(name, ["name", ""], [[e.name, e.summary] for e in found if e.kind == name])


def show(
    name: Annotated[str, typer.Argument(help="A name that `hugbench list` shows.")], as_json: Json = False
) -> None:
    """Show one criterion, baseline, evaluation, strategy, data set or suite: equation, arguments, source."""
    from hugbench import describe

    found = describe.show(name)
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['kind']} {name}\n")
    if found.get("doc"):
        typer.echo(f"{found['doc']}\n")
    if found.get("arguments"):
        rows = [
            [arg["name"], arg["type"], "required" if arg["default"] is None else arg["default"]]
            for arg in found["arguments"]
        ]
        table("Arguments", ["name", "type", "default"], rows)
    if found.get("baseline"):
        texts = found["baseline"].items()
        rows = [[key, text if isinstance(text, str) else json.dumps(text)] for key, text in texts]
        table("Baseline", ["", ""], rows)
    for key in ("target", "file"):
        if key in found:
            typer.echo(f"{key}: {found[key]}")


def schema() -> None:
    """Print the JSON Schema of a suite, for editors."""
    from hugbench.suite.jsonschema import json_schema

    print_json(json_schema())


def doctor(data: Data = None, as_json: Json = False) -> None:
    """Show versions, devices, and which data sets are found where."""
    from hugbench import api, describe

    found = describe.doctor(api.data_folder(data))
    if as_json:
        print_json(found)
        return
    table(
        "Versions",
        ["", ""],
        [["python", found["python"]], *[[k, v or "missing"] for k, v in found["packages"].items()]],
    )
    table(
        "Devices",
        ["", ""],
        [["cpu", found["cpu"]], *[[name, ""] for name in found["devices"] if name != "cpu"]],
    )
    table(
        f"Data sets in {found['data']}",
        ["name", "found"],
        [[k, v or "no"] for k, v in found["datasets"].items()],
    )


def _strategies(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    columns = ["strategy", "new images", "replayed images", "beside the criterion", "memory"]
    table("What strategies do with the criterion", columns, [[row[name] for name in columns] for row in rows])
    table("strategies", ["name", ""], [[row["strategy"], row["summary"]] for row in rows])
