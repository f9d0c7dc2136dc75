"""The command line: verbs over the public functions of the same names."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hugbench.cli import comparing, describing, references, reporting, suites, writing

app = typer.Typer(
    name="hugbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


app.command()(suites.run)
app.command()(comparing.compare)
app.command()(reporting.report)
app.command()(references.freeze)
app.command()(references.check)
app.command()(references.published)
app.command()(suites.plan)
app.command()(suites.status)
app.command()(suites.validate)
app.command("list")(describing.list_)
app.command()(describing.show)
app.command()(suites.records)
app.command()(suites.cards)
app.command()(writing.corrupt)
app.command()(describing.schema)
app.command()(writing.export)
app.command()(describing.doctor)


def main() -> None:
    """Entry point: user errors in a line, exit code 2."""
    from hugbench.errors import HugbenchError
    from hugbench.execution.processes import hold_back, speaks

    try:
        app()
    except HugbenchError as error:
        if speaks():
            print(f"error: {error}", file=sys.stderr)
        hold_back()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
