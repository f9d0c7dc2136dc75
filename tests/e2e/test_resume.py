"""Killed at any moment, a suite ends with the records of one that was left alone."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import command, environment
from tests.e2e.test_cli import DEVICE


def everything(results: Path) -> dict[str, bytes]:
    """Records and predictions of every run, byte for byte."""
    found = [
        *results.rglob("records/*.jsonl"),
        *results.rglob("predictions/*.parquet"),
        *results.rglob("*.safetensors"),
    ]
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def undisturbed(hugbench, tiny: Path, tmp_path: Path) -> dict[str, bytes]:
    done = hugbench("run", tiny, "--results", "undisturbed", *DEVICE)
    assert done.returncode == 0, done.stderr
    return everything(tmp_path / "undisturbed")


def test_kill_minus_nine_at_random_moments(tiny: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    draw = random.Random(0)
    results, kills = tmp_path / "killed", 0
    while True:
        process = subprocess.Popen(
            command("run", tiny, "--results", results, *DEVICE),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before, patience = changes(results), 0.2 * draw.random()
        while process.poll() is None and (kills == 6 or changes(results) == before):
            time.sleep(0.005)
        time.sleep(patience)  # from the first change on disk on, at some moment of training or evaluation
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.returncode == 0
    assert kills >= 2, "hardly disturbed"
    assert everything(results) == undisturbed


def changes(results: Path) -> int:
    """A number that grows with whatever is written of a training."""
    return max((path.stat().st_mtime_ns for path in results.glob("runs/*/train.jsonl")), default=0)


def test_damaged_files_are_reported_and_redone(
    hugbench, tiny, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    results = tmp_path / "undisturbed"
    records = sorted(results.rglob("records/*.jsonl"))
    predictions = sorted(results.rglob("predictions/*.parquet"))
    statuses = sorted(results.rglob("status.json"))
    harmed = bytearray(records[0].read_bytes())
    harmed[10] ^= 4
    records[0].write_bytes(harmed)
    predictions[1].write_bytes(predictions[1].read_bytes()[:50])
    statuses[2].write_text("{")
    model = sorted(results.rglob("model.safetensors"))[0]
    model.write_bytes(model.read_bytes()[:-1])
    done = hugbench("run", tiny, "--results", "undisturbed", *DEVICE)
    assert done.returncode == 0, done.stderr
    for words in (
        "does not match its checksum; accuracy is redone",
        "model is trained again",
        "status.json was damaged",
    ):
        assert words in done.stdout
    assert everything(results) == undisturbed


def test_a_damaged_checkpoint_is_reported_and_training_starts_over(tiny, tmp_path, undisturbed) -> None:
    process = subprocess.Popen(
        command("run", tiny, "--results", "broken", *DEVICE), cwd=tmp_path, env=environment()
    )
    deadline = time.monotonic() + 120
    while not (found := list((tmp_path / "broken").rglob("resume.pt"))) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    found = list((tmp_path / "broken").rglob("resume.pt")) or found
    if found[0].exists():
        data = bytearray(found[0].read_bytes())
        data[len(data) // 2] ^= 1
        found[0].write_bytes(data)
    done = subprocess.run(
        command("run", tiny, "--results", "broken", *DEVICE),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "training starts over" in done.stdout
    assert everything(tmp_path / "broken") == undisturbed


def test_two_processes_share_a_results_folder(
    tiny: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    pair = [
        subprocess.Popen(
            command("run", tiny, "--results", "shared", *DEVICE),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    assert everything(tmp_path / "shared") == undisturbed
    for path in (tmp_path / "shared").rglob("environment.json"):
        assert len(json.loads(path.read_text())["sessions"]) == 1, "a run was trained twice"
