from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.text import Text

from hugbench.cli import app
from hugbench.execution.where import EXECUTORS


def options() -> Iterator[tuple[str, Any]]:
    for verb, command in typer.main.get_command(app).commands.items():
        for parameter in command.params:
            yield f"{verb} {parameter.name}", parameter


@pytest.mark.parametrize(("name", "parameter"), list(options()))
def test_nothing_of_a_help_is_taken_for_markup(name: str, parameter: Any) -> None:
    for told in (getattr(parameter, "help", None), getattr(parameter, "show_default", None)):
        if isinstance(told, str):
            assert Text.from_markup(told).plain == told


def test_the_options_of_executors_stand_together() -> None:
    here = {
        parameter.name
        for name, parameter in options()
        if name.startswith("run ") and getattr(parameter, "rich_help_panel", None) == "Where runs happen"
    }
    assert here == {"executor"}.union(*(kind.model_fields for kind in EXECUTORS.values()))
