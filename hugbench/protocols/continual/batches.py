"""Mini-batches of rows: what Avalanche's loaders would give, cut from whole epochs at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hugbench.protocols.continual.rows import Rows

Batch = list[Tensor]
"""Rows, labels and task labels, int64 (B,) each; then logits (B, num_classes), where there are any."""


class Batches:
    """An epoch of mini-batches, in place of a strategy's loader.

    Args:
        data: what the epoch goes through.
        size: of a mini-batch.
        draw: the order comes from it, on the CPU, as `torch.randperm(len(data), generator=draw)`.
        device: where the mini-batches are.
        drop_last: leave out a last, smaller one.
        replayed: are put behind the new images of each mini-batch.
    """

    def __init__(
        self,
        data: Rows,
        size: int,
        draw: torch.Generator,
        device: torch.device,
        *,
        drop_last: bool,
        replayed: Iterator[Batch] | None = None,
    ) -> None:
        self.data, self.size, self.draw, self.device, self.replayed = data, size, draw, device, replayed
        whole, rest = divmod(len(data), size)
        self.steps = whole + (rest > 0 and not drop_last)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        batches = _shuffled(self.data, self.size, self.draw, self.device)
        for _, batch in zip(range(self.steps), batches, strict=False):
            if self.replayed is not None:
                batch = [torch.cat(pair) for pair in zip(batch, next(self.replayed), strict=True)]
            yield batch


def endless(data: Rows, size: int, draw: torch.Generator, device: torch.device) -> Iterator[Batch]:
    """Mini-batches of `data` in a random order, again and again, all of `size` or of all there is."""
    size = min(size, len(data))
    while True:
        for batch in _shuffled(data, size, draw, device):
            if len(batch[0]) == size:
                yield batch


def _shuffled(data: Rows, size: int, draw: torch.Generator, device: torch.device) -> Iterator[Batch]:
    order = torch.randperm(len(data), generator=draw)
    columns = (torch.split(column[order].to(device), size) for column in data.columns())
    yield from map(list, zip(*columns, strict=True))
