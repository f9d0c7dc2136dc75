from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hugbench.storage import atomic, file_sha256, write_atomic


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
