"""Mini-batches of rows against the loaders whose place they take."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from hugbench.protocols.continual.batches import Batches, endless
from hugbench.protocols.continual.rows import Rows, experiences, whole

LABELS = torch.arange(30) % 5
CPU = torch.device("cpu")


def nested() -> Rows:
    """Subsets of subsets and concatenations of them, as memories are: rows 29, 3, 3, 10, 11, ..., 20."""
    data = whole(LABELS)
    return data.subset([5, 29, 3]).subset([1, 2, 2]).concat(data.subset(range(5, 25)).subset(range(5, 16)))


def test_rows_of_nested_data_sets() -> None:
    data = nested()
    expected = [29, 3, 3, *range(10, 21)]
    assert data.rows() == expected
    assert len(data) == len(expected)
    assert [data[index] for index in range(len(data))] == [(row, row % 5, 0) for row in expected]
    assert data.__getitems__([0, 13, 1]) == [(29, 4, 0), (20, 0, 0), (3, 3, 0)]
    assert [column.tolist() for column in data.columns()] == [
        expected,
        [row % 5 for row in expected],
        [0] * len(expected),
    ]


def test_rows_keep_their_logits() -> None:
    logits = torch.randn(30, 5)
    data = whole(LABELS).with_logits(list(logits)).subset([4, 7, 9]).subset([2, 0])
    assert torch.equal(data.columns()[3], logits[[9, 4]])
    row, label, task, kept = data[0]
    assert (row, label, task) == (9, 4, 0)
    assert torch.equal(kept, logits[9])


def test_rows_of_different_sets_do_not_mix() -> None:
    with pytest.raises(TypeError, match="different training sets"):
        whole(LABELS).concat(whole(LABELS)).rows()


def test_experiences_know_their_classes() -> None:
    data = whole(LABELS)
    found = experiences(data, [[0, 1, 5], [2, 7, 3]])
    assert [experience.dataset.rows() for experience in found] == [[0, 1, 5], [2, 7, 3]]
    assert [experience.classes_in_this_experience for experience in found] == [{0, 1}, {2, 3}]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("size", [3, 5, 14, 20])
def test_they_are_what_a_loader_gives(size: int, drop_last: bool, device: torch.device) -> None:
    data = nested()
    sampler = RandomSampler(data, generator=torch.Generator().manual_seed(4))
    loader = DataLoader(data, size, sampler=sampler, drop_last=drop_last, generator=torch.Generator())
    found = Batches(data, size, torch.Generator().manual_seed(4), device, drop_last=drop_last)
    assert len(found) == len(loader)
    for mine, theirs in zip(found, loader, strict=True):
        assert all(tensor.device.type == device.type for tensor in mine)
        assert [tensor.tolist() for tensor in mine] == [tensor.tolist() for tensor in theirs]


def test_every_pass_has_an_order_of_its_own() -> None:
    batches = Batches(whole(LABELS), 10, torch.Generator().manual_seed(0), CPU, drop_last=True)
    passes = [torch.cat([batch[0] for batch in batches]).tolist() for _ in range(2)]
    assert passes[0] != passes[1]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(30))


@pytest.mark.parametrize(("size", "expected"), [(4, 4), (14, 14), (40, 14)])
def test_a_memory_is_gone_through_again_and_again(size: int, expected: int) -> None:
    draw = endless(nested(), size, torch.Generator().manual_seed(0), CPU)
    batches = [next(draw)[0] for _ in range(7)]
    assert all(len(batch) == expected for batch in batches)
    passes = 14 // expected
    for first in range(0, 7 - passes + 1, passes):
        rows = torch.cat(batches[first : first + passes]).tolist()
        assert all(rows.count(row) <= (2 if row == 3 else 1) for row in rows)


def test_replayed_images_stand_behind_the_new_ones() -> None:
    memory = whole(LABELS).subset([0, 1])
    batches = Batches(
        whole(LABELS).subset(range(10, 16)),
        3,
        torch.Generator().manual_seed(0),
        CPU,
        drop_last=True,
        replayed=endless(memory, 2, torch.Generator().manual_seed(1), CPU),
    )
    for rows, labels, tasks in batches:
        assert set(rows[:3].tolist()) < set(range(10, 16))
        assert set(rows[3:].tolist()) == {0, 1}
        assert torch.equal(labels, LABELS[rows])
        assert not tasks.any()
