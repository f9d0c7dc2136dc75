"""The real command line, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = """\
criteria: [cross_entropy, {hug: {uniformity: mhe}}]
baseline: cross_entropy
dataset: {name: digits, validation: 0.1, max_train: 320, max_test: 100}
model: {backbone: test_resnet, stem: cifar, embedding_dim: 16}
recipe: {epochs: 3, batch_size: 64, lr: 0.05, schedule: one_cycle, augment: {crop: 1}, snapshot_every: 2}
seeds: [0, 1]
evaluations: [{accuracy: {}, evaluate_after: each}]
"""

Result = subprocess.CompletedProcess[str]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "hugbench", *map(str, arguments)]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT), **extra}


@pytest.fixture
def hugbench(tmp_path: Path) -> Callable[..., Result]:
    """Runs `hugbench ARGUMENTS` in an empty folder."""

    def call(*arguments: str | Path, **extra: str) -> Result:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(**extra),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A suite of four runs that takes seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path
