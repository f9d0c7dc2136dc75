from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

BASE = """\
criteria: [cross_entropy, hug]
baseline: cross_entropy
dataset: digits
model: {backbone: test_resnet, stem: cifar}
recipe: {epochs: 2, batch_size: 64, lr: 0.1}
seeds: [0, 1]
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a valid suite with some lines replaced: `suite_file(seeds='[0]', name='other')`."""

    def write(text: str | None = None, **lines: str) -> Path:
        if text is None:
            kept = [line for line in BASE.splitlines() if line.partition(":")[0] not in lines]
            text = "\n".join([*kept, *(f"{key}: {value}" for key, value in lines.items())]) + "\n"
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return path

    return write
