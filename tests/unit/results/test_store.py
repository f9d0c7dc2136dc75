from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hugbench.errors import CorruptFile, UserError
from hugbench.results.store import DAMAGED, RunFolder, Status, writable
from hugbench.storage import write_atomic


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, "hug-0123456789")


def test_a_run_nobody_began_is_pending(folder: RunFolder) -> None:
    assert folder.status() == Status()
    assert folder.status().lacks([])


def test_status_survives_a_round_trip(folder: RunFolder) -> None:
    status = Status("trained", {"a": "b"}, ["accuracy-1"], None, 2.5, {"accuracy-1": ["a note"]})
    folder.write_status(status)
    assert folder.status() == status
    assert not status.lacks(["accuracy-1"])
    assert status.lacks(["accuracy-1", "accuracy-2"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "trained", "unknown": 1}', "\x00\x01"])
def test_a_damaged_status_is_said(folder: RunFolder, text: str) -> None:
    write_atomic(folder.path / "status.json", text.encode())
    assert folder.status() == Status(error=DAMAGED)


@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_damaged_records_are_detected(folder: RunFolder, harm: str) -> None:
    path = folder.records_file("accuracy-1")
    write_atomic(path, (json.dumps({"value": 0.5}) + "\n").encode())
    status = Status("trained", evaluations=["accuracy-1"])
    folder.sealed(status, path)
    assert folder.records(status, "accuracy-1") == [{"value": 0.5}]
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[3] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-2])
    else:
        path.unlink()
    with pytest.raises(CorruptFile, match="accuracy-1"):
        folder.records(status, "accuracy-1")


HOLD = """
import sys, pathlib
from hugbench.results.store import RunFolder
with RunFolder(pathlib.Path(sys.argv[1]), "hug-0123456789").lock() as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_a_lock_keeps_others_out_and_ends_with_its_process(folder: RunFolder, tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    with folder.lock() as mine:
        assert not mine
    assert f"process {other.pid}" in folder.holder()
    other.kill()
    other.wait()
    with folder.lock() as mine:
        assert mine
    assert folder.holder() == "another process"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no folder"):
        writable(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        writable(Path("/proc/results"))
