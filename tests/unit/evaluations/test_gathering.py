from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import pytest
import torch

from hugbench.evaluations import gathering
from hugbench.evaluations.gathering import Gathering


def rows() -> torch.Tensor:
    return torch.randn(23, 5, generator=torch.Generator().manual_seed(0))


def gathered(folder: Path | None, values: torch.Tensor, size: int = 4) -> torch.Tensor:
    found = Gathering(len(values), folder)
    for batch in values.split(size):
        found.add(batch)
    return found.tensor()


def open_files() -> list[str]:
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if link.is_symlink()]


@pytest.mark.parametrize("memory", [4 * 4 * 23 * 5, 4 * 4 * 23 * 5 - 1])
def test_in_memory_or_in_a_file_the_rows_are_the_same(tmp_path: Path, monkeypatch, memory: int) -> None:
    monkeypatch.setattr(gathering, "available_memory", lambda: memory)
    folder = tmp_path / "run" / "scratch"
    found = gathered(folder, rows())
    assert torch.equal(found, rows())
    assert found.dtype == torch.float32
    assert folder.exists() == (memory < 4 * 4 * 23 * 5)
    assert not folder.exists() or list(folder.iterdir()) == []  # removed already, and still readable
    assert torch.equal(gathered(folder, rows().t()[:3].t()), rows()[:, :3])  # not contiguous


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_nothing_of_a_file_is_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gathering, "available_memory", lambda: 0)
    found = gathered(tmp_path, rows())
    assert sum(str(tmp_path) in name for name in open_files()) <= 1  # that of the mapping
    del found
    gc.collect()
    assert not any(str(tmp_path) in name for name in open_files())


def test_too_few_rows_are_no_tensor(tmp_path: Path) -> None:
    found = Gathering(3, tmp_path)
    found.add(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="expected 3, found 2"):
        found.tensor()


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gathering, "available_memory", lambda: 0)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setattr(gathering.tempfile, "TemporaryFile", lambda dir: full.open("wb"))
    found = Gathering(1 << 20, tmp_path)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        for _ in range(100):
            found.add(torch.zeros(1 << 10, 64))
    assert caught.value.errno == errno.ENOSPC
