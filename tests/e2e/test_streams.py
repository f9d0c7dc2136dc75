"""Class-incremental streams from the command line: killed and resumed, recorded, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import command, environment
from tests.e2e.test_cli import DEVICE
from tests.e2e.test_resume import changes, everything

SUITE = """\
criteria: [cross_entropy, {hug: {classes: seen, start: random}}]
baseline: cross_entropy
dataset: {name: digits, max_train: 320, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
protocol:
  continual:
    experiences: 2
    proxies_of_unseen_classes: ignore
    strategies: [{replay: {memory: 40}}]
recipe: {epochs: 2, batch_size: 32, lr: 0.05, augment: {crop: 1}}
seeds: [0]
evaluations: [{accuracy: {}, evaluate_after: each}]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "stream.yaml"
    path.write_text(SUITE)
    return path


def test_killed_within_a_stream_and_resumed(hugbench, suite: Path, tmp_path: Path) -> None:
    """Killed after the first and after the third epoch of the first run, then left to end."""
    done = hugbench("run", suite, "--results", "undisturbed", *DEVICE)
    assert done.returncode == 0, done.stderr
    killed = tmp_path / "killed"
    for epochs in (1, 3):
        process = subprocess.Popen(
            command("run", suite, "--results", killed, *DEVICE), cwd=tmp_path, env=environment()
        )
        while finished_epochs(killed) < epochs and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = changes(killed)
    assert before, "nothing was disturbed"
    assert hugbench("run", suite, "--results", "killed", *DEVICE).returncode == 0
    assert everything(killed) == everything(tmp_path / "undisturbed")
    assert_recorded(hugbench, suite, tmp_path / "undisturbed")


def finished_epochs(results: Path) -> int:
    return sum(len(log.read_text().splitlines()) for log in results.glob("runs/*/train.jsonl"))


def assert_recorded(hugbench, suite: Path, results: Path) -> None:
    """The matrix, the numbers from it by the definitions, the models and the audit are there."""
    rows = json.loads(hugbench("records", suite, "--results", results.name, "--json").stdout)
    for criterion in ("cross_entropy", "hug"):
        own = [row for row in rows if row["criterion"] == criterion]
        matrix = {
            (row["experience"], row["subset"]): row["value"]
            for row in own
            if row["metric"] == "accuracy" and row["subset"].startswith("experience:")
        }
        assert set(matrix) == {(i, f"experience:{j}") for i in range(3) for j in (1, 2)}
        found = {
            row["metric"]: row["value"] for row in own if row["subset"] == "all" and row["experience"] == 2
        }
        first = matrix[1, "experience:1"] - matrix[2, "experience:1"]
        assert found["forgetting"] == found["forgetting_initial"] == pytest.approx(first)
        assert found["backward_transfer"] == pytest.approx(-first)
        assert found["final_accuracy"] == pytest.approx(
            (matrix[2, "experience:1"] + matrix[2, "experience:2"]) / 2
        )
        assert found["forward_transfer"] == pytest.approx(
            matrix[1, "experience:2"] - matrix[0, "experience:2"]
        )
        assert {row["protocol"] for row in own} == {"continual replay(memory=40)"}
        folder = results / "runs" / own[0]["run_id"]
        assert (folder / "snapshots" / "experience-1.safetensors").exists()
        audit = json.loads((folder / "audit.json").read_text())
        assert [account["experience"] for account in audit] == [1, 2]
        assert audit[1]["criterion_replayed"] > 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("protocol.continual.experiences=3", ["10 classes do not divide into 3", "1, 2, 5, 10", "remainder"]),
        ("protocol.continual.experiences=11", ["more experiences than classes", "at most 10"]),
        ("protocol.continual.experiences=0", ["protocol.continual.experiences"]),
        ("protocol.continual.strategies=[replai]", ["did you mean 'replay'"]),
        ("protocol.continual.strategies=[{replay: {memori: 4}}]", ["did you mean 'memory'"]),
        ("protocol.continual.strategies=[{replay: {memory: 0}}]", ["replay.memory"]),
        (
            "protocol.continual.strategies=[{replay: {memory: 9999}}]",
            ["memory is larger than the data", "320"],
        ),
        ("protocol.continual.strategies=[er_ace]", ["er_ace cannot train hug", "er_ace_criterion"]),
        ("protocol.continual.strategies=[icarl]", ["icarl cannot train hug", "never calls"]),
        ("protocol.continual.strategies=[naive, naive]", ["the same protocol twice"]),
        ("protocol.continual.strategies=[]", ["protocol"]),
        ("protocol.continual.class_order=random", ["class_order", "seeded"]),
        ("protocol.continual.experience=2", ["did you mean 'experiences'"]),
        ("recipe.mixup=0.2", ["recipe.mixup", "class-incremental stream"]),
        ("recipe.batch_size=200", ["batch from the memory is larger than the memory", "at most 40"]),
        ("protocol=continul", ["unknown protocol", "did you mean 'continual'"]),
        ("dataset.long_tail={imbalance_factor: 100000}", ["no training image"]),
    ],
)
def test_bad_streams_are_one_line_and_nothing_is_started(hugbench, suite, tmp_path, setting, words) -> None:
    done = hugbench("run", suite, "--set", setting, *DEVICE)
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.rglob("train.jsonl"))
