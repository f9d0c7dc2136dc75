"""Verbs that write folders: corrupt, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hugbench.cli.options import Data, Json, Results, numbers_of
from hugbench.cli.output import print_json


def corrupt(
    dataset: Annotated[str, typer.Argument(help="A known data set, or a folder of the data folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            metavar="FOG,SNOW",
            help="Which corruptions.",
            show_default="the 15 of CIFAR-C",
        ),
    ] = None,
    severities: Annotated[
        str, typer.Option("--severities", metavar="1,2,3", help="Which severities.")
    ] = "1,2,3,4,5",
    seed: Annotated[int, typer.Option(help="Of the randomness.")] = 0,
    split: Annotated[str, typer.Option(help="test or train.")] = "test",
    frost_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs of frost.", show_default="textures of its own"),
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
        severities=numbers_of(severities, "--severities", "severities"),
        seed=seed,
        split=split,
        frost_dir=frost_dir,
        data=data,
        image_size=image_size,
        device=device,
        notify=lambda sentence: typer.echo(sentence, err=True),
    )
    if as_json:
        print_json(done.to_json())
    else:
        typer.echo(f"{done.folder}: {len(done.written)} kinds written, {len(done.kept)} were there")


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
