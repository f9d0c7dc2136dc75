from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hugbench.errors import CorruptFile, UserError
from hugbench.results.store import DAMAGED, RunFolder, Status, keeping, writable
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "\x00\x01",
        '{"state": "trained", "unknown": 1}',
        '{"state": "tsained"}',
        '{"state": ["trained"]}',
        '{"files": ["a"]}',
        '{"files": {"a": 1}}',
        '{"evaluations": {"a": "b"}}',
        '{"evaluations": [1]}',
        '{"evaluations": "accuracy"}',
        '{"error": 5}',
        '{"seconds": "long"}',
        '{"notes": {"a": "b"}}',
        '{"notes": {"a": [1]}}',
        '{"notes": []}',
        '{"took": {"a": "long"}}',
        '{"took": [1]}',
        '{"stamps": {"a": 1}}',
        '{"stamps": {"a": ["1"]}}',
        '{"state": "trained", "sha256": "0"}',
        '{"state": "trained", "sha256": 0}',
        "[" * 100_000,
    ],
)
def test_a_damaged_status_is_said(folder: RunFolder, text: str) -> None:
    write_atomic(folder.path / "status.json", text.encode())
    assert folder.status() == Status(error=DAMAGED)


def test_every_flipped_bit_of_a_status_is_noticed_or_changes_nothing(folder: RunFolder) -> None:
    status = Status("trained", {"a": "b" * 8}, ["accuracy-1"], None, 2.5, {"accuracy-1": ["a note"]})
    folder.write_status(status)
    whole = (folder.path / "status.json").read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            harmed = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            assert Status.read(harmed) in (status, Status(error=DAMAGED)), harmed


def test_the_status_of_an_earlier_version_has_no_checksum(folder: RunFolder) -> None:
    write_atomic(folder.path / "status.json", b'{"state": "trained", "evaluations": ["a"], "seconds": 3}')
    assert folder.status() == Status("trained", evaluations=["a"], seconds=3)


def test_a_status_that_cannot_be_read_is_one_line(folder: RunFolder) -> None:
    (folder.path / "status.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"status\.json: cannot be read \(Is a directory\)"):
        folder.status()


def test_a_file_that_cannot_be_read_is_damaged(folder: RunFolder) -> None:
    path = folder.records_file("accuracy-1")
    path.mkdir(parents=True)
    assert folder.damaged(Status(), path) == "records/accuracy-1.jsonl cannot be read (Is a directory)"
    (folder.path / "details").write_text("")
    assert folder.damaged(Status(), folder.details_file("a")) == "details/a.json is missing"


def test_a_checksum_is_of_what_was_to_be_written(folder: RunFolder, monkeypatch) -> None:
    status, path = Status(), folder.model
    folder.store(status, path, b"weights")
    assert folder.damaged(status, path) is None
    assert status.stamps == {"model.safetensors": [7, path.stat().st_mtime_ns]}
    path.write_bytes(b"weighty")
    assert folder.damaged(status, path) == "model.safetensors does not match its checksum"


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


OLD = {"state": "trained", "files": {}, "evaluations": ["a-1"], "error": None, "seconds": 2.5, "notes": {}}


def test_a_status_from_before_evaluations_were_timed_is_readable(folder: RunFolder) -> None:
    write_atomic(folder.path / "status.json", json.dumps(OLD).encode())
    assert folder.status() == Status("trained", evaluations=["a-1"], seconds=2.5)


def rot(path: Path) -> None:
    """Change a file without a trace in its size and times."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class TestWhatIsLookedAt:
    """Everything, or only the files that changed since they were sealed."""

    @pytest.fixture
    def sealed(self, folder: RunFolder) -> Status:
        status = Status("trained", evaluations=["a-1"])
        for path in (folder.records_file("a-1"), folder.predictions_file("a-1"), folder.details_file("a-1")):
            write_atomic(path, path.name.encode())
            folder.sealed(status, path)
        folder.write_status(status)
        return folder.status()

    @pytest.mark.parametrize("thorough", [True, False])
    @pytest.mark.parametrize("name", ["records/a-1.jsonl", "predictions/a-1.parquet", "details/a-1.json"])
    @pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
    def test_a_file_that_was_written_to_is_found_either_way(
        self, folder: RunFolder, sealed: Status, thorough: bool, name: str, harm: str
    ) -> None:
        assert folder.damaged_evaluation(sealed, "a-1", thorough=thorough) is None
        path = folder.path / name
        data = bytearray(path.read_bytes())
        data[3] ^= 1
        path.unlink() if harm == "gone" else path.write_bytes(data[:-1] if harm == "cut" else data)
        assert name in (folder.damaged_evaluation(sealed, "a-1", thorough=thorough) or "")

    @pytest.mark.parametrize("name", ["records/a-1.jsonl", "predictions/a-1.parquet", "details/a-1.json"])
    def test_a_disk_that_forgets_is_found_by_reading_all(
        self, folder: RunFolder, sealed: Status, name: str
    ) -> None:
        rot(folder.path / name)
        quick = folder.damaged_evaluation(sealed, "a-1", thorough=False)
        assert quick is None if "records" not in name else "checksum" in (quick or "")
        assert f"{name} does not match" in (folder.damaged_evaluation(sealed, "a-1") or "")

    def test_without_stamps_every_file_is_read(self, folder: RunFolder, sealed: Status) -> None:
        sealed.stamps = {}
        assert folder.damaged_evaluation(sealed, "a-1", thorough=False) is None
        rot(folder.predictions_file("a-1"))
        assert "checksum" in (folder.damaged_evaluation(sealed, "a-1", thorough=False) or "")

    def test_a_copy_is_read_and_found_whole(self, folder: RunFolder, sealed: Status, tmp_path: Path) -> None:
        shutil.copytree(folder.path, tmp_path / "copy" / "runs" / folder.run_id, copy_function=shutil.copy)
        copy = RunFolder(tmp_path / "copy", folder.run_id)
        assert copy.damaged_evaluation(sealed, "a-1", thorough=False) is None


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


def test_a_lock_that_is_a_folder_is_one_line(folder: RunFolder, tmp_path: Path) -> None:
    (folder.path / ".lock").mkdir(parents=True)
    with (
        pytest.raises(UserError, match=r"\.lock: results cannot be written"),
        keeping(tmp_path),
        folder.lock(),
    ):
        raise AssertionError("it was locked")


def test_a_lock_is_given_back_though_its_holder_cannot_be_noted(folder: RunFolder) -> None:
    (folder.path / ".holder").mkdir(parents=True)
    for _ in range(2):
        with folder.lock() as mine:
            assert mine
    assert folder.holder() == "another process"


def test_litter_is_what_killed_processes_leave(folder: RunFolder) -> None:
    status = Status("trained")
    folder.write_status(status)
    with folder.lock() as mine:
        assert mine
        assert folder.littered(status)
    assert not folder.littered(status)
    for path in (folder.path / ".holder", folder.checkpoint, folder.records_file("x").parent / ".x.abc.tmp"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert folder.littered(status)
        with folder.lock():
            folder.tidy(status)
        assert not folder.littered(status)
    folder.checkpoint.touch()
    folder.tidy(Status("training"))
    assert folder.checkpoint.exists()


def test_what_fails_beside_the_results_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), keeping(tmp_path / "results"):
        (tmp_path / "other").read_text()
    told = r"results/x: results cannot be written \(No such file"
    with pytest.raises(UserError, match=told), keeping(tmp_path / "results"):
        (tmp_path / "results" / "x").read_text()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no folder"):
        writable(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        writable(Path("/proc/results"))
