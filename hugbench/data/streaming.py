"""Images that are decoded when they are needed: for sets that are larger than the memory."""

from __future__ import annotations

import math
import multiprocessing
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from hugbench.data.crops import Crops
from hugbench.data.decode import Decoder
from hugbench.data.images import Images, moved, rounds
from hugbench.data.machine import available_cpus
from hugbench.errors import UserError

MAX_WORKERS = 8
CHUNK_BYTES = 1 << 22
"""What a worker decodes at a time: finished parts of batches wait in shared memory, which may be small."""


class StreamedImages(Images):
    """Images in files, decoded batch by batch in worker processes; the batches of `ResidentImages`.

    Args:
        files: N paths, relative to the decoder's folder.
        targets: int64 (N,), on the CPU.
        decoder: from a file to pixels.
    """

    can_be_cut = True

    def __init__(self, files: Sequence[str], targets: Tensor, decoder: Decoder) -> None:
        self._chunks = _Chunks(np.array([os.fsencode(file) for file in files]), decoder)
        self._rows = torch.arange(len(files))
        self.targets = targets
        self.shape = decoder.shape

    @property
    def rows(self) -> Tensor:
        """See `Images.rows`."""
        return self._rows

    def subset(self, indices: Tensor) -> StreamedImages:
        """The images at `indices` (int64, CPU), in that order."""
        chosen = object.__new__(StreamedImages)
        chosen._chunks, chosen.shape = self._chunks, self.shape
        chosen._rows, chosen.targets = self._rows[indices], self.targets[indices]
        return chosen

    def cropped(self, crops: Crops) -> StreamedImages:
        """See `Images.cropped`."""
        chosen = self.subset(torch.arange(len(self)))
        chosen._chunks = replace(self._chunks, crops=crops)
        return chosen

    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Images.batches`.

        Raises:
            UserError: a file can no longer be read.
        """
        parts = rounds(len(self), batch_size, order, drop_last)
        size = min(batch_size, max(1, CHUNK_BYTES // math.prod(self.shape)))
        # arrays, for tensors would go to the workers through shared memory
        chunks = [self._rows[chunk].numpy() for indices in parts for chunk in torch.split(indices, size)]
        workers = _workers(len(chunks)) if len(parts) > 1 else 0
        ahead = 2 * math.ceil(batch_size / size)
        loader: DataLoader[Tensor | UserError] = DataLoader(
            self._chunks,
            batch_size=None,
            sampler=chunks,
            num_workers=workers,
            prefetch_factor=max(2, math.ceil(ahead / workers)) if workers else None,
            generator=torch.Generator(),  # else each epoch would take a number from the global one
        )
        found = iter(loader)
        try:
            for indices in parts:
                images = _joined([next(found) for _ in range(math.ceil(len(indices) / size))])
                yield moved(images, device), self.targets[indices].to(device), indices
        finally:
            del found  # an error that remembers this frame would let the workers wait


@dataclass(frozen=True)
class _Chunks(TorchDataset[Tensor | UserError]):
    """Parts of batches as items. File names lie in one block of memory, which forked workers share."""

    files: NDArray[np.bytes_]
    decoder: Decoder
    crops: Crops | None = None

    def __getitem__(self, rows: NDArray[np.int64]) -> Tensor | UserError:
        images = torch.empty(len(rows), *self.decoder.shape, dtype=torch.uint8)
        pixels = images.numpy()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Corrupt EXIF data")  # nobody looks at it
                for index, row in enumerate(rows.tolist()):
                    pixels[index] = self.decoder(os.fsdecode(self.files[row]), row, self.crops)
        except UserError as error:  # raised here it would come out of the worker with its traceback
            return error
        return images


def _joined(chunks: list[Tensor | UserError]) -> Tensor:
    images = []
    for chunk in chunks:
        if isinstance(chunk, UserError):
            raise chunk
        images.append(chunk)
    return images[0] if len(images) == 1 else torch.cat(images)


def _workers(chunks: int) -> int:
    """None where one is all there is, or in a process that may have no children."""
    if chunks < 2 or multiprocessing.current_process().daemon:
        return 0
    return min(available_cpus(), MAX_WORKERS, chunks)
