from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hugbench.data.cache import Entry, cached, unnamed
from hugbench.errors import ChangedInUse


class Source:
    """Makes entries, and counts how often; keeps what was said."""

    def __init__(self, value: int = 0, size: int = 40) -> None:
        self.value, self.size = value, size
        self.made = 0
        self.said: list[str] = []

    def __call__(self) -> Entry:
        self.made += 1
        images = torch.arange(self.size + 1).add(self.value).to(torch.uint8)  # of odd length
        return Entry({"images": images, "targets": torch.arange(5) + self.value}, f"checksum {self.value}")

    def get(self, path: Path, fingerprint: str = "one") -> Entry:
        return cached(path, fingerprint, self, self.said.append)


def assert_same(found: Entry, expected: Entry) -> None:
    assert found.checksum == expected.checksum
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype == tensor.dtype


def test_made_once_and_then_read(tmp_path: Path) -> None:
    path, source = tmp_path / "folder" / "set.safetensors", Source()
    for _ in range(3):
        assert_same(source.get(path), source())
    assert source.made == 1 + 3
    assert source.said == []
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_others_can_read_the_file(tmp_path: Path) -> None:
    source = Source()
    source.get(tmp_path / "set.safetensors")
    found = load_file(tmp_path / "set.safetensors")
    assert torch.equal(found["targets"], torch.arange(5))
    assert len(found["images"]) == 41


def test_another_fingerprint_replaces_it_in_silence(tmp_path: Path) -> None:
    path, old, new = tmp_path / "set.safetensors", Source(0), Source(7)
    before = old.get(path, "one")
    kept = old.get(path, "one")
    assert_same(new.get(path, "two"), new())
    assert_same(new.get(path, "two"), new())
    assert (old.made, new.made) == (1, 3)
    assert old.said == new.said == []
    assert_same(kept, before)


def test_every_flipped_byte_is_noticed_and_mended(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    path, source = tmp_path / "set.safetensors", Source()
    source.get(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        before = source.made
        assert_same(source.get(path), Source()())
        assert source.made == before + 1, f"byte {place} of {len(whole)}"
    assert len(source.said) == len(whole)
    assert all("set.safetensors: damaged (" in said for said in source.said)
    assert path.read_bytes() == whole


def test_every_truncation_is_noticed_and_mended(tmp_path: Path) -> None:
    path, source = tmp_path / "set.safetensors", Source()
    source.get(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert_same(source.get(path), Source()())
    assert source.made == len(source.said) + 1 == len(range(0, len(whole), 7)) + 1


def test_where_nothing_can_be_written_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path, source = tmp_path / "file" / "set.safetensors", Source()
    assert_same(source.get(path), Source()())
    (said,) = source.said
    assert "file: cannot be written (" in said
    assert_same(source.get(path), Source()())
    assert source.made == 1, "made again in the same process"
    assert_same(source.get(path, "two"), Source()())
    assert source.made == 2


READ = """\
import sys
from pathlib import Path
from hugbench.data import cache
path = Path(sys.argv[1])
cache.inherit({path: int(sys.argv[2])})
found = cache.cached(path, "one", lambda: sys.exit("made again"), sys.exit)
print(found.checksum, found.tensors["images"].sum().item())
"""


def test_a_worker_inherits_what_could_not_be_written_and_nothing_stays(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    path, source = tmp_path / "file" / "set.safetensors", Source()
    expected = source.get(path)
    descriptor = unnamed()[path]
    read = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(descriptor)],
        pass_fds=[descriptor],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert read.stdout.split() == ["checksum", "0", str(expected.tensors["images"].sum().item())], read.stderr
    assert list((tmp_path / "scratch").iterdir()) == []


def test_where_there_is_no_room_at_all_it_goes_on(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    path, source = tmp_path / "file" / "set.safetensors", Source()
    assert_same(source.get(path), Source()())
    assert path not in unnamed()


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    import os

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    source = Source()
    assert_same(source.get(tmp_path / "set.safetensors"), Source()())
    assert "No space left on device" in source.said[0]
    assert list(tmp_path.iterdir()) == []


def _write_often(path: Path, value: int, times: int) -> None:
    source = Source(value, 50_000)
    for index in range(times):
        source.get(path, f"{value} {index}")
    assert source.said == []


def test_two_writers_and_a_reader_see_whole_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(path, value, 25)) for value in (1, 2)]
    for writer in writers:
        writer.start()
    reader = Source(3, 50_000)
    for index in range(25):
        found = reader.get(path, f"3 {index}")
        assert found.checksum == "checksum 3"
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reader.said == []
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_whoever_writes_into_a_mapped_file_is_noticed_and_whoever_replaces_it_does_no_harm(tmp_path) -> None:
    path, source = tmp_path / "set.safetensors", Source()
    source.get(path)
    found = source.get(path)
    found.unchanged()
    source.get(path, "another")
    found.unchanged()
    assert_same(found, Source()())
    found = source.get(path, "another")
    with path.open("r+b") as stream:
        stream.write(b"x")
    with pytest.raises(ChangedInUse, match=r"set\.safetensors: was changed while it was in use"):
        found.unchanged()


def test_a_cut_mapping_is_noticed_without_being_read(tmp_path: Path) -> None:
    path, source = tmp_path / "set.safetensors", Source()
    source.get(path)
    found = source.get(path)
    os.truncate(path, 0)
    with pytest.raises(ChangedInUse):
        found.unchanged()


def test_descriptors_end_with_their_entries(tmp_path: Path) -> None:
    path, source = tmp_path / "set.safetensors", Source()
    source.get(path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        source.get(path)
    gc.collect()
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after <= before + 1


def test_what_a_killed_writer_left_beside_it_is_removed(tmp_path: Path) -> None:
    path, source = tmp_path / "set.safetensors", Source()
    source.get(path)
    (tmp_path / ".set.safetensors.abc.tmp").touch()
    source.get(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
