"""What `show` tells of a criterion and of its baseline."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hugbench import registry
from hugbench.cli import app
from hugbench.describe import entries, show
from hugbench.errors import UserError
from hugbench.registry import CRITERIA
from hugbench.suite.baselines import read_baseline, shipped_baselines


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_a_criterion_comes_with_its_baseline(name: str) -> None:
    found = show(name)
    text = read_baseline(shipped_baselines()[name]).text
    assert found["kind"] == "criterion"
    assert found["baseline"]["citation"] == str(text.citation)
    assert found["baseline"]["recipe"] == text.recipe
    assert found["baseline"]["tuned"] is text.tuned


def test_a_baseline_that_is_no_criterion_is_shown_by_its_name() -> None:
    found = show("label_smoothing")
    assert found["kind"] == "baseline"
    assert list(found["baseline"]["criterion"]) == ["cross_entropy"]
    with pytest.raises(UserError, match="did you mean 'label_smoothing'"):
        show("label_smoothin")


def test_the_command_line_prints_citation_and_recipe(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    printed = CliRunner().invoke(app, ["show", "hug"]).stdout
    text = read_baseline(shipped_baselines()["hug"]).text
    assert str(text.citation) in printed
    assert "recipe" in printed
    assert "baselines/hug.yaml" in printed


def test_a_broken_package_leaves_the_others_listed(monkeypatch) -> None:
    monkeypatch.setattr(registry, "installed_criteria", lambda: {"theirs": "no_such_package:Loss"})
    found = {entry.name: entry.summary for entry in entries("criteria")}
    assert set(found) == {*CRITERIA, "theirs"}
    assert found["theirs"].startswith("cannot be used: no_such_package:Loss: no such module")
    assert "cannot be used" not in found["hug"]


def test_other_things_have_none() -> None:
    assert "baseline" not in show("accuracy")
    assert "baseline" not in show("digits")
