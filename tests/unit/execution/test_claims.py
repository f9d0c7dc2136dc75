"""What a living process has claimed stays, what a dead one has left goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hugbench.execution.executors.claims import OWNER, claimed, sweep


def test_claims(tmp_path: Path) -> None:
    with claimed(tmp_path / "token-1", "content"):
        sweep(tmp_path, "token-*")
        assert (tmp_path / "token-1").read_text() == "content"
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "none" / "token", ""):
        pass


def test_litter(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from hugbench.execution.executors.claims import claimed\n"
        "with claimed(Path(sys.argv[1]), 'content'): os.kill(os.getpid(), 9)"
    )
    (tmp_path / "token-folder" / "logs").mkdir(parents=True)
    for path in (tmp_path / "token-1", tmp_path / "token-folder" / OWNER):
        assert subprocess.run([sys.executable, "-c", code, path]).returncode == -9
        assert path.exists()
    (tmp_path / "token-stranger").mkdir()
    (tmp_path / "other").touch()
    sweep(tmp_path, "token-*")
    assert {path.name for path in tmp_path.iterdir()} == {"other", "token-stranger"}
