"""An adversarial evaluation from the command line; killed in the middle of an attack it ends the same."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import command, environment
from tests.e2e.test_cli import DEVICE
from tests.e2e.test_resume import everything

SUITE = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 320, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 2, batch_size: 64, lr: 0.05, schedule: one_cycle}
seeds: [0]
evaluations:
  - accuracy
  - adversarial: {attack: screen, eps: [2/255, 16/255], max_images: 60, card_images: 8}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "robust.yaml"
    path.write_text(SUITE)
    return path


def details(results: Path) -> dict[str, bytes]:
    found = sorted(results.rglob("details/adversarial-*.json"))
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in found}


def test_killed_in_the_middle_of_attacks_it_ends_as_if_it_had_not_been(
    hugbench, suite: Path, tmp_path: Path
) -> None:
    done = hugbench("run", suite, "--results", "whole", *DEVICE)
    assert done.returncode == 0, done.stderr
    whole, killed, kills = tmp_path / "whole", tmp_path / "killed", 0
    for lines in (3, 8, 14, 1_000_000):
        process = subprocess.Popen(
            command("run", suite, "--results", killed, *DEVICE),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and written(killed) < lines:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        told = process.communicate()[1]
    assert process.returncode == 0, told
    assert kills >= 2, "hardly disturbed"
    assert everything(killed) == everything(whole)
    assert details(killed) == details(whole)
    assert len(details(whole)) == 2

    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "adversarial · screen, Linf · 60 images" in done.stdout
    assert "minus cross_entropy" in done.stdout
    rows = json.loads(hugbench("records", suite, "--results", "whole", "--json").stdout)
    robust = [row for row in rows if row["metric"] == "robust_accuracy" and row["subset"] == "all"]
    assert {row["condition"] for row in robust} == {"screen Linf 2/255", "screen Linf 16/255"}
    assert {row["reliability"] for row in robust} <= {"PASS", "WARN", "FAIL"}
    cards = json.loads(hugbench("cards", suite, "--results", "whole", "--json").stdout)
    assert [(card["criterion"], card["eps"]) for card in cards] == [
        ("cross_entropy", "2/255"),
        ("cross_entropy", "16/255"),
        ("hug", "2/255"),
        ("hug", "16/255"),
    ]


def written(results: Path) -> int:
    """Lines in the longest ledger."""
    return max((path.read_bytes().count(b"\n") for path in results.rglob("adversarial/*.jsonl")), default=0)


def test_a_later_attack_trains_nothing(hugbench, suite: Path, tmp_path: Path) -> None:
    assert hugbench("run", suite, "--set", "evaluations=[accuracy]", *DEVICE).returncode == 0
    models = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    attack = "evaluations=[{adversarial: {attacks: [fgsm], eps: [2/255], card_images: 4}}]"
    done = hugbench("run", suite, "--set", attack, *DEVICE)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")} == models


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("{attack: autoatack}", ["autoattack"]),
        ("{attack: screen, attacks: [pgd]}", ["robust.yaml:", "one of both"]),
        ("{eps: [8]}", ["Linf radius above 1"]),
        ("{norm: L2}", ["norm: Linf"]),
        ("{attacks: [{pgd: {stepz: 3}}]}", ["did you mean 'step'?"]),
    ],
)
def test_bad_input_is_one_line(hugbench, suite: Path, attack: str, words: list[str]) -> None:
    suite.write_text(SUITE[: SUITE.index("evaluations")] + f"evaluations: [adversarial: {attack}]\n")
    told = hugbench("run", suite, *DEVICE)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert not (suite.parent / "results").exists()
    for word in words:
        assert word in told.stderr.replace("\n", " ")
