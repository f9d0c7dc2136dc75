"""A loss of one's own, from a file, from CONTRIBUTING, from an installed package, as a baseline; and broken."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from hugbench import cli, registry, run
from tests.e2e.conftest import ROOT
from tests.e2e.test_cli import DEVICE

SUITE = """\
criteria: [cross_entropy]
baseline: cross_entropy
dataset: {name: digits, max_train: 128, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 8}
recipe: {epochs: 1, batch_size: 64, lr: 0.05}
seeds: [0]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suites" / "quickstart.yaml"
    path.parent.mkdir()
    path.write_text(SUITE)
    return path


def blocks(language: str) -> list[str]:
    """The blocks of code in CONTRIBUTING's section on a loss of one's own."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## A loss of your own\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def accuracies(done) -> dict[str, dict[str, object]]:
    rows = [row for row in json.loads(done.stdout) if row["metric"] == "accuracy" and row["subset"] == "all"]
    return {row["criterion"]: row for row in rows}


def test_contributings_lines_are_a_loss_and_its_command_runs_it(
    hugbench, suite: Path, tmp_path: Path
) -> None:
    [code], [command] = blocks("python"), blocks("sh")
    assert len(code.splitlines()) <= 15
    (tmp_path / "my_loss.py").write_text(code)
    words = shlex.split(command)
    assert words[:3] == ["hugbench", "run", "suites/quickstart.yaml"]
    done = hugbench(*words[1:], *DEVICE)
    assert done.returncode == 0, done.stderr
    assert "MyLoss" in done.stdout

    found = accuracies(hugbench("records", *words[2:], "--json"))
    assert set(found) == {"cross_entropy", "MyLoss"}
    assert all(row["n"] == 100 and 0 <= row["value"] <= 1 for row in found.values())
    folder = tmp_path / "results" / "runs" / str(found["MyLoss"]["run_id"])
    assert "scale: 2.0" in (folder / "run.yaml").read_text()

    def plan() -> dict[str, tuple[str, str]]:
        report = json.loads(hugbench("plan", *words[2:], "--json").stdout)
        return {entry["criterion"]: (entry["run_id"], entry["state"]) for entry in report["runs"]}

    before = plan()
    assert {state for _, state in before.values()} == {"done"}
    (tmp_path / "my_loss.py").write_text(code.replace("self.scale *", "2 * self.scale *"))
    after = plan()
    assert after["cross_entropy"] == before["cross_entropy"]
    assert after["MyLoss"][0] != before["MyLoss"][0]
    assert after["MyLoss"][1] == "pending"


def test_the_shipped_example_and_a_baseline_join_a_suite_by_path(
    suite: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(ROOT)
    added = ["baselines/my_loss.py:MyLoss", "baselines/label_smoothing.yaml"]
    outcome = run(suite, criteria=added, device=DEVICE[1], results=tmp_path / "results")
    assert outcome.plan.labels == ("cross_entropy", "MyLoss", "label_smoothing")
    assert outcome.failed == {}
    assert len(outcome.done) == 3


def test_an_installed_package_offers_its_losses_by_name(hugbench, suite: Path, tmp_path: Path) -> None:
    """A distribution as pip would leave it: a package, and its metadata beside it."""
    site = tmp_path / "site"
    package, metadata = site / "their_losses", site / "their_losses-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text("from .soft import Theirs\n\n__all__ = ['Theirs']\n")
    (package / "soft.py").write_text(blocks("python")[0].replace("MyLoss", "Theirs"))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-losses\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[hugbench.criteria]\ntheirs = their_losses:Theirs\n")
    path = {"PYTHONPATH": f"{ROOT}:{site}"}

    listed = json.loads(hugbench("list", "criteria", "--json", **path).stdout)
    assert "theirs" in {entry["name"] for entry in listed}
    suite.write_text(SUITE.replace("cross_entropy]", "cross_entropy, {theirs: {scale: 3.0}}]"))
    wrong = hugbench("validate", suite, "--set", "criteria.theirs.sclae=1", **path)
    assert wrong.returncode == 2
    assert "theirs.sclae: unknown key" in wrong.stderr
    assert "did you mean 'scale'" in wrong.stderr
    done = hugbench("run", suite, *DEVICE, **path)
    assert done.returncode == 0, done.stderr
    found = accuracies(hugbench("records", suite, "--json", **path))
    assert set(found) == {"cross_entropy", "theirs"}

    before = json.loads(hugbench("plan", suite, "--json", **path).stdout)["counts"]
    with (package / "soft.py").open("a") as stream:
        stream.write("# edited\n")
    after = json.loads(hugbench("plan", suite, "--json", **path).stdout)["counts"]
    assert (before, after) == ({"done": 2}, {"done": 1, "pending": 1})


LOSS = """\
from torch import nn
from hugbench import Criterion

class Mine(Criterion):
    def __init__(self, in_features, num_classes, *, scale: float = 1.0):
        super().__init__(in_features, num_classes)
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, features, targets):
        return nn.functional.cross_entropy(self.logits(features), targets)

    def logits(self, features):
        return self.head(features)
"""


@pytest.mark.parametrize(
    ("old", "new", "options", "words"),
    [
        ("class Mine", "class Mind", [], ["mine.py: defines no 'Mine'", "did you mean 'Mind'"]),
        ("(features), targets)", "(features, targets)", [], ["mine.py:10: is not Python"]),
        ("Criterion):", "):", [], ["criteria.Mine: is no torch.nn.Module"]),
        ("super().__init__(in_features, num_classes)", "raise KeyError(scale)", [], ["mine.py:6: criteria.Mine: cannot be built (KeyError: 1.0)"]),
        ("features), targets)", "features), targets, reduction='none')", [], ["criteria.Mine: fails when tried on 8 images", "expected a scalar loss, found shape (8,)"]),
        ("self.head(features)\n", "self.heed(features)\n", [], ["mine.py:13: criteria.Mine: fails when tried", "heed"]),
        ("from torch", "from troch", [], ["mine.py:1: criteria.Mine: cannot be loaded", "troch"]),
        ("float = 1.0", "float = open('x')", [], ["mine.py:5:68: scale: a default that is not a literal"]),
        ("", "", ["--set", "criteria.Mine.sclae=2"], ["Mine.sclae: unknown key", "did you mean 'scale'"]),
        ("", "", ["--set", "criteria.Mine.scale=much"], ["Mine.scale", "found 'much'", "a number"]),
        ("", "", ["--criterion", "mind.py:Mine"], ["--criterion: criteria: no such file", "mind.py"]),
        ("", "", ["--criterion", "mine.py:Mine"], ["two criteria of one name"]),
        ("", "", ["--criterion", "mine.yaml"], ["--criterion: criteria: no such baseline"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_exit_code_2_and_nothing_started(
    suite: Path, tmp_path: Path, monkeypatch, capsys, old: str, new: str, options: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(LOSS.replace(old, new, 1) if old else LOSS)
    monkeypatch.setattr(
        sys, "argv", ["hugbench", "run", str(suite), "--criterion", "mine.py:Mine", *options, *DEVICE]
    )
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr()
    assert caught.value.code == 2
    assert len(told.err.strip().splitlines()) == 1, told.err
    assert "Traceback" not in told.err
    for word in words:
        assert word in told.err
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"suites", "mine.py"}


def test_entry_points_do_not_hide_hugbenchs_own(monkeypatch) -> None:
    monkeypatch.setattr(registry, "installed_criteria", lambda: {"hug": "elsewhere:Hug", "theirs": "x:Y"})
    assert registry.criteria()["hug"] == registry.CRITERIA["hug"]
    assert registry.criteria()["theirs"] == "x:Y"
