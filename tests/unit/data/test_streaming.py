from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hugbench.data import streaming
from hugbench.data.decode import fitting
from hugbench.data.images import Images, ResidentImages
from hugbench.data.listing import list_folder
from hugbench.data.streaming import StreamedImages
from hugbench.errors import UserError
from tests.unit.data.make import write_folder

CPU = torch.device("cpu")


@pytest.fixture
def both(tmp_path: Path) -> tuple[StreamedImages, ResidentImages]:
    """The same 21 images, streamed and resident."""
    written = write_folder(tmp_path, ["a", "b", "ü"], train=7)
    part = list_folder(tmp_path).train
    targets = torch.tensor(part.labels)
    streamed = StreamedImages(part.files, targets, fitting(tmp_path, part.files, None, None))
    pixels = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in written["train"]]))
    return streamed, ResidentImages(pixels.contiguous(), targets)


def assert_same(
    one: Images, other: Images, device: torch.device, size: int, order: Tensor | None = None
) -> None:
    found, expected = (list(images.batches(size, device, order)) for images in (one, other))
    assert len(found) == len(expected) > 0
    for batch, twin in zip(found, expected, strict=True):
        for tensor, other_tensor in zip(batch, twin, strict=True):
            assert torch.equal(tensor, other_tensor)
            assert tensor.device == other_tensor.device
            assert tensor.dtype == other_tensor.dtype


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_is_resident_bit_for_bit(both, device, monkeypatch, workers: int) -> None:
    monkeypatch.setattr(streaming, "_workers", lambda batches: workers)
    streamed, resident = both
    assert streamed.shape == resident.shape
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    assert_same(streamed, resident, device, 4, order)
    chosen = torch.tensor([20, 0, 5, 5, 13])
    assert_same(streamed.subset(chosen), resident.subset(chosen), device, 2)
    assert streamed.subset(chosen).rows.tolist() == chosen.tolist()


def test_drop_last_and_emptiness(both) -> None:
    streamed, _ = both
    assert [len(indices) for *_, indices in streamed.batches(8, CPU, drop_last=True)] == [8, 8]
    assert list(streamed.batches(22, CPU, drop_last=True)) == []
    assert list(streamed.subset(torch.empty(0, dtype=torch.int64)).batches(4, CPU)) == []


def test_no_global_generator_is_touched(both) -> None:
    streamed, _ = both
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert len(list(streamed.batches(4, CPU))) == 6
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_gone_bad_is_one_line(both, tmp_path: Path, monkeypatch, workers: int) -> None:
    monkeypatch.setattr(streaming, "_workers", lambda batches: workers)
    streamed, _ = both
    (tmp_path / "train" / "ü" / "003.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"003\.png: this image cannot be read") as caught:
        list(streamed.batches(4, CPU))
    assert "\n" not in str(caught.value)


def test_it_can_be_pickled(both) -> None:
    streamed, resident = both
    assert_same(pickle.loads(pickle.dumps(streamed)), resident, CPU, 30)


def test_workers_are_few_and_none_for_one_batch(monkeypatch) -> None:
    assert streaming._workers(0) == streaming._workers(1) == 0
    monkeypatch.setattr(streaming, "available_cpus", lambda: 64)
    assert streaming._workers(3) == 3
    assert streaming._workers(1000) == streaming.MAX_WORKERS


def test_streamed_images_are_picked_as_resident_ones(both, device) -> None:
    rows = torch.tensor([20, 3, 3, 7], device=device)
    for one, other in (both, [images.subset(torch.arange(20, -1, -1)) for images in both]):
        assert torch.equal(one.picker(device)(rows), other.picker(device)(rows))
