"""torchrun: several processes train every model of a suite together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import environment
from tests.e2e.test_cli import DEVICE

SUITE = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 320, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 2, batch_size: 64, lr: 0.002, ema: 0.5, clip_grad: 1.0, augment: {crop: 1}, mixup: 0.2}
seeds: [1]
evaluations: [accuracy]
"""

DISTURBED = """\
criteria:
  - {name: killed, own.py:Own: {do: kill}}
  - {name: failing, own.py:Own: {do: fail}}
baseline: killed
dataset: {name: digits, max_train: 128, max_test: 50}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 3, batch_size: 64, lr: 0.002}
seeds: [0]
evaluations: [accuracy]
"""

OWN = """\
import os
import signal
from typing import Literal

import torch
from hugbench import Criterion


class Own(Criterion):
    def __init__(self, in_features: int, num_classes: int, *, do: Literal["kill", "fail"] = "kill"):
        super().__init__(in_features, num_classes)
        self.head, self.do, self.epoch = torch.nn.Linear(in_features, num_classes), do, 0

    def start_epoch(self, epoch, epochs):
        self.epoch = epoch
        first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if self.do == "kill" and epoch == 1 and first_attempt and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    def forward(self, features, targets):
        if self.do == "fail" and self.epoch == 1:
            raise ArithmeticError("as asked")
        return torch.nn.functional.cross_entropy(self.logits(features), targets)

    def logits(self, features):
        return self.head(features)
"""


def torchrun(folder: Path, *arguments: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launcher, f"--max-restarts={restarts}", "-m", "hugbench", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def rows(results: Path) -> dict[str, list[dict[str, Any]]]:
    """The training log of every run, by id."""
    logs = sorted(results.glob("runs/*/train.jsonl"))
    return {log.parent.name: [json.loads(line) for line in log.read_text().splitlines()] for log in logs}


def records(results: Path) -> dict[tuple[Any, ...], float | None]:
    found = [
        json.loads(line)
        for file in sorted(results.glob("runs/*/records/*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    return {(row["run_id"], row["metric"], row["condition"], row["subset"]): row["value"] for row in found}


@pytest.mark.skipif(DEVICE[-1] != "cpu", reason="there may be one GPU only")
def test_two_processes_give_the_records_of_one(hugbench, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    alone = hugbench("run", "suite.yaml", "--results", "one", *DEVICE)
    assert alone.returncode == 0, alone.stderr
    done = torchrun(tmp_path, "run", "suite.yaml", "--results", "two", *DEVICE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("suite: 2 runs, results in two") == 1
    assert done.stdout.count("Everything lies in two") == 1
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert one.keys() == two.keys()
    for run_id, expected in one.items():
        for mine, theirs in zip(two[run_id], expected, strict=True):
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
            assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
            assert mine["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.01)
    found, expected = records(tmp_path / "two"), records(tmp_path / "one")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=0.02, rel=0.02)
    sessions = [
        json.loads(file.read_text())["sessions"] for file in (tmp_path / "two").rglob("environment.json")
    ]
    assert [[session["ranks"] for session in each] for each in sessions] == [[2], [2]]


@pytest.mark.skipif(DEVICE[-1] != "cpu", reason="there may be one GPU only")
def test_a_killed_rank_ends_all_and_they_start_again_and_an_error_of_all_is_one_runs(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(DISTURBED)
    (tmp_path / "own.py").write_text(OWN)
    done = torchrun(tmp_path, "run", "suite.yaml", "--results", "two", *DEVICE, restarts=1)
    assert done.returncode == 1, "torchrun's own, whatever the code of the processes"
    assert "exitcode  : 3" in done.stderr
    assert "1 run failed" in done.stdout
    found = {}
    for file in (tmp_path / "two" / "runs").glob("*/status.json"):
        status = json.loads(file.read_text())
        sessions = json.loads((file.parent / "environment.json").read_text())["sessions"]
        found[status["state"]] = file.parent.name, status["error"], len(sessions)
    run_id, error, sessions = found["trained"]
    assert (error, sessions) == (None, 2), "taken up again"
    assert [row["epoch"] for row in rows(tmp_path / "two")[run_id]] == [0, 1, 2]
    assert found["failed"][1] == "ArithmeticError: as asked"
    assert not list((tmp_path / "two").rglob(".holder"))


def test_bad_input_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    done = torchrun(tmp_path, "run", "suite.yaml", "--results", "two", "--executor", "local")
    assert done.returncode == 1
    assert done.stderr.count("error: --executor: 2 processes train one run after the other, together") == 1
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "two").exists()
