from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hugbench.data.images import Images, ResidentImages
from hugbench.errors import ChangedInUse

SHAPE = (3, 4, 5)


def example(count: int = 11) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *SHAPE), generator=draw, dtype=torch.uint8)
    return images, torch.randint(0, 4, (count,), generator=draw)


def through(images: Images, device: torch.device, size: int, order: Tensor | None = None, **options):
    """All batches as one, checked for where they lie."""
    found = list(images.batches(size, device, order, **options))
    for pixels, targets, indices in found:
        assert pixels.device.type == targets.device.type == device.type
        assert indices.device.type == "cpu"
        assert pixels.dtype == torch.uint8
        assert targets.dtype == indices.dtype == torch.int64
        assert pixels.is_contiguous()
    lengths = [len(indices) for _, _, indices in found]
    return lengths, *(torch.cat([batch[i].cpu() for batch in found]) for i in range(3))


@pytest.mark.parametrize("size", [1, 4, 11, 50])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_are_the_images_in_order(device, size: int, shuffled: bool) -> None:
    images, targets = example()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1)) if shuffled else None
    expected = torch.arange(11) if order is None else order
    lengths, pixels, labels, indices = through(ResidentImages(images, targets), device, size, order)
    assert lengths == [len(part) for part in expected.split(size)]
    assert torch.equal(indices, expected)
    for place, index in enumerate(expected.tolist()):
        assert torch.equal(pixels[place], images[index])
        assert labels[place] == targets[index]


def test_drop_last_leaves_out_the_smaller_batch(device) -> None:
    split = ResidentImages(*example())
    assert through(split, device, 4, drop_last=True)[0] == [4, 4]
    assert list(split.batches(12, device, drop_last=True)) == []
    assert list(split.batches(4, device, torch.empty(0, dtype=torch.int64))) == []


def test_a_subset_of_a_subset_with_repeats(device) -> None:
    images, targets = example()
    subset = (
        ResidentImages(images, targets).subset(torch.tensor([10, 3, 3, 7])).subset(torch.tensor([2, 0, 1]))
    )
    assert len(subset) == 3
    assert subset.shape == SHAPE
    assert subset.rows.tolist() == [3, 10, 3]
    assert torch.equal(subset.targets, targets[[3, 10, 3]])
    _, pixels, labels, indices = through(subset, device, 2, torch.tensor([1, 0, 1]))
    assert torch.equal(pixels, images[[10, 3, 10]])
    assert torch.equal(labels, targets[[10, 3, 10]])
    assert indices.tolist() == [1, 0, 1]


def test_the_set_is_never_copied_on_the_cpu() -> None:
    images, targets = example()
    subset = ResidentImages(images, targets).subset(torch.tensor([5, 2]))
    images[2] = 77
    ((pixels, _, _),) = subset.batches(2, torch.device("cpu"))
    assert torch.equal(pixels[1], torch.full(SHAPE, 77, dtype=torch.uint8))


def test_a_batch_may_be_changed_without_changing_the_set(device) -> None:
    images, targets = example()
    split = ResidentImages(images, targets)
    for pixels, labels, _ in split.batches(11, device):
        pixels.zero_()
        labels.zero_()
    _, pixels, labels, _ = through(split, device, 11)
    assert torch.equal(pixels, images)
    assert torch.equal(labels, targets)
    assert pixels.any()
    assert labels.any()


@pytest.mark.parametrize("free", [0, 1 << 40])
def test_an_accelerator_without_room_gives_the_same_batches(device, monkeypatch, free: int) -> None:
    if device.type != "cuda":
        pytest.skip("only CUDA devices keep a copy of the set")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    images = torch.randint(0, 256, (1000, *SHAPE), dtype=torch.uint8)
    split = ResidentImages(images, torch.zeros(1000, dtype=torch.int64))
    before = torch.cuda.memory_allocated(device)
    order = torch.randperm(1000)
    assert torch.equal(through(split, device, 64, order)[1], images[order])
    assert torch.equal(through(split.subset(order), device, 64)[1], images[order])
    kept = torch.cuda.memory_allocated(device) - before
    assert images.nbytes <= kept < 2 * images.nbytes if free else kept < images.nbytes


def test_a_picker_gives_the_images_of_any_rows(device) -> None:
    images, targets = example()
    part = ResidentImages(images, targets).subset(torch.tensor([7, 2, 5, 2]))
    pick = part.picker(device)
    for rows in ([3], [0, 1, 2, 3], [2, 2, 0]):
        found = pick(torch.tensor(rows))
        assert found.device.type == device.type
        assert torch.equal(found.cpu(), images[torch.tensor([7, 2, 5, 2])[rows]])
        assert torch.equal(found, pick(torch.tensor(rows, device=device)))
    pick(torch.tensor([0])).zero_()
    assert images[7].any()  # what it gives is the caller's own


def test_images_that_changed_under_the_reader_are_not_handed_out(device) -> None:
    calls, changed = [], False

    def unchanged() -> None:
        calls.append(changed)
        if changed:
            raise ChangedInUse(Path("set"), "was changed while it was in use")

    found = ResidentImages(*example(), unchanged=unchanged).subset(torch.arange(1, 9))
    through(found, device, 4)
    found.picker(device)(torch.arange(3))
    assert calls
    changed = True
    with pytest.raises(ChangedInUse):
        found.check()
    if device.type == "cuda":  # what lies on a GPU is a copy
        through(found, device, 4)
        return
    with pytest.raises(ChangedInUse):
        through(found, device, 4)
    with pytest.raises(ChangedInUse):
        found.picker(device)(torch.arange(3))
