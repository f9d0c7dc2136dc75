from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hugbench.errors import CorruptFile
from hugbench.training import checkpoint as module
from hugbench.training.checkpoint import Checkpoint, load, read_epoch, save


def example(size: int = 100, epochs: int = 2) -> Checkpoint:
    learner = {
        "model": {"weight": torch.randn(size), "count": torch.tensor(3)},
        "optimiser": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"betas": (0.9, 0.99)}]},
        "average": None,
    }
    return Checkpoint(learner, [{"epoch": epoch, "loss": 0.5} for epoch in range(epochs)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "resume.pt"


def test_round_trip(path: Path) -> None:
    stored = example()
    save(path, stored)
    found = load(path)
    assert torch.equal(found.learner["model"]["weight"], stored.learner["model"]["weight"])
    assert found.learner["optimiser"]["param_groups"] == [{"betas": (0.9, 0.99)}]
    assert found.history == stored.history
    assert read_epoch(path) == 2
    assert list(path.parent.iterdir()) == [path]


def test_tensors_come_back_on_the_cpu(path: Path, device: torch.device) -> None:
    save(path, Checkpoint({"weight": torch.ones(2, device=device)}, []))
    assert load(path).learner["weight"].device.type == "cpu"


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    save(path, example(size=4))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        harmed = bytearray(whole)
        harmed[place] ^= 1 << (place % 8)
        path.write_bytes(harmed)
        with pytest.raises(CorruptFile, match=r"checksum|cut short"):
            load(path)


def test_every_truncation_is_noticed(path: Path) -> None:
    save(path, example(size=4))
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match="cut short"):
            read_epoch(path)


class Harm:
    """Unpickling it would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


def test_no_code_is_run_even_with_the_right_checksum(path: Path, tmp_path: Path) -> None:
    payload = io.BytesIO()
    torch.save({"learner": {"model": Harm(tmp_path / "ran")}, "history": []}, payload)
    path.parent.mkdir()
    mark = b"hugbench checkpoint 1\n"
    path.write_bytes(payload.getvalue() + mark + hashlib.sha256(payload.getvalue()).digest())
    with pytest.raises(CorruptFile, match="cannot be read"):
        load(path)
    assert not (tmp_path / "ran").exists()


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to let any file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [100, 3000, 200_000, 400_500])
def test_a_disk_that_fills_up_leaves_the_checkpoint_before(path: Path, room: int) -> None:
    save(path, example(size=4))
    before = path.read_bytes()
    with largest_file(room), pytest.raises(OSError, match="too large") as caught:
        save(path, example(size=100_000))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_error_of_the_disk_is_the_one_that_is_raised(path: Path, monkeypatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: bytes) -> int:
            if self.tell() > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(module, "atomic", lambda path: contextlib.nullcontext(Full()))
    with pytest.raises(OSError, match="No space left") as caught:
        save(path, example(size=100_000))
    assert caught.value.errno == errno.ENOSPC
