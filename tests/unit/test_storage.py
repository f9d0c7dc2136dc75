from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hugbench import storage
from hugbench.storage import atomic, file_sha256, is_of_disk, probe, sweep, temporaries, write_atomic


def test_a_written_file_is_whole_and_its_checksum_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert write_atomic(path, b"one") == hashlib.sha256(b"one").hexdigest() == file_sha256(path)
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(OSError, match="No space left"), atomic(path) as stream:
        stream.write(b"half")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


WRITE = """
import pathlib, sys
from hugbench.storage import atomic
with atomic(pathlib.Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path):
    """A process in the middle of writing `deep/file`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / "deep" / "file")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_writer_leaves_is_swept_and_what_a_living_one_writes_is_not(tmp_path, writer) -> None:
    sweep(tmp_path)
    assert len(list(temporaries(tmp_path))) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(temporaries(tmp_path))) == 1
    sweep(tmp_path)
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_living_writer_ends_well_though_others_sweep(tmp_path: Path, writer) -> None:
    sweep(tmp_path)
    writer.communicate()
    assert (tmp_path / "deep" / "file").read_bytes() == b"half"
    assert list(temporaries(tmp_path)) == []


def test_others_files_are_not_swept(tmp_path: Path) -> None:
    for name in ("notes.tmp", ".hidden", ".tmpfile"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    sweep(tmp_path / "not there")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("moment", ["before it is locked", "when it is locked"])
def test_a_file_that_is_swept_as_it_is_born_is_made_again(tmp_path: Path, monkeypatch, moment: str) -> None:
    made, lock = [], storage.fcntl.flock

    def swept(handle: int, how: int) -> None:
        made.append(handle)
        if len(made) == 1:
            next(temporaries(tmp_path)).unlink()
            if moment == "before it is locked":
                raise BlockingIOError(errno.EWOULDBLOCK, "held by the sweeper")
        lock(handle, how)

    monkeypatch.setattr(storage.fcntl, "flock", swept)
    write_atomic(tmp_path / "file", b"whole")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_files_cannot_be_locked_they_are_written_and_never_swept(tmp_path: Path, monkeypatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(storage.fcntl, "flock", unsupported)
    write_atomic(tmp_path / "file", b"whole")
    left = tmp_path / ".other.x.tmp"
    left.touch()
    sweep(tmp_path)
    assert left.exists()


def test_a_probe_leaves_nothing_not_even_that_of_a_killed_one(tmp_path: Path) -> None:
    (tmp_path / f".{storage.PROBE}.abc.tmp").touch()
    probe(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        probe(tmp_path / "not there")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
def test_an_error_without_a_name_is_of_the_disk_if_only_disks_have_it(tmp_path: Path, code: int) -> None:
    assert is_of_disk(OSError(code, os.strerror(code)), tmp_path)


def test_an_error_with_a_name_is_of_the_disk_if_that_lies_there(tmp_path: Path, monkeypatch) -> None:
    inside, outside = str(tmp_path / "runs" / "a"), str(tmp_path.parent / "b")
    for code in (errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EMFILE):
        assert is_of_disk(OSError(code, "", inside), tmp_path)
        assert is_of_disk(OSError(code, "", outside, None, inside), tmp_path)
        assert not is_of_disk(OSError(code, "", outside), tmp_path)
        assert not is_of_disk(OSError(code, ""), tmp_path)
    monkeypatch.chdir(tmp_path)
    assert is_of_disk(OSError(errno.EPERM, "", "results/a"), Path("results"))
    assert is_of_disk(OSError(errno.EPERM, "", inside), Path("../") / tmp_path.name)
    assert not is_of_disk(OSError(errno.ENOSPC, "", outside), tmp_path)
    assert not is_of_disk(ValueError("results"), tmp_path)
