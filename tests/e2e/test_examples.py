"""The examples run, in a short form."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.e2e.conftest import ROOT, environment


def test_plain_torch_prints_the_accuracy_of_both(tmp_path) -> None:
    example = ROOT / "examples" / "plain_torch.py"
    assert len(example.read_text().splitlines()) <= 60
    done = subprocess.run(
        [sys.executable, str(example), "--epochs", "2"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = dict(re.findall(r"^(\w+) +([0-9.]+)% of 597 images$", done.stdout, re.MULTILINE))
    assert set(found) == {"cross_entropy", "hug"}
    assert all(float(accuracy) > 50 for accuracy in found.values()), found
