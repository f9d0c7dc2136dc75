"""Images that are decoded when they are needed: for sets that are larger than the memory."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from hugbench.data.decode import Decoder
from hugbench.data.images import Images, moved, rounds
from hugbench.data.machine import available_cpus
from hugbench.errors import UserError

MAX_WORKERS = 8


class StreamedImages(Images):
    """Images in files, decoded batch by batch in worker processes; the batches of `ResidentImages`.

    Args:
        files: N paths, relative to the decoder's folder.
        targets: int64 (N,), on the CPU.
        decoder: from a file to pixels.
    """

    def __init__(self, files: Sequence[str], targets: Tensor, decoder: Decoder) -> None:
        self._batches = _Batches(files, decoder)
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
        chosen._batches, chosen.shape = self._batches, self.shape
        chosen._rows, chosen.targets = self._rows[indices], self.targets[indices]
        return chosen

    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Images.batches`.

        Raises:
            UserError: a file can no longer be read.
        """
        parts = rounds(len(self), batch_size, order, drop_last)
        loader: DataLoader[Tensor | UserError] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=[self._rows[indices].tolist() for indices in parts],
            num_workers=_workers(len(parts)),
            generator=torch.Generator(),  # else each epoch would take a number from the global one
        )
        for indices, images in zip(parts, loader, strict=True):
            if isinstance(images, UserError):
                raise images
            yield moved(images, device), self.targets[indices].to(device), indices


class _Batches(TorchDataset[Tensor | UserError]):
    """Whole batches as items. File names lie in one block of memory, which forked workers share."""

    def __init__(self, files: Sequence[str], decoder: Decoder) -> None:
        self.files = np.array([os.fsencode(file) for file in files])
        self.decoder = decoder

    def __getitem__(self, rows: Sequence[int]) -> Tensor | UserError:
        images = torch.empty(len(rows), *self.decoder.shape, dtype=torch.uint8)
        pixels = images.numpy()
        try:
            for index, row in enumerate(rows):
                pixels[index] = self.decoder(os.fsdecode(self.files[row]))
        except UserError as error:  # raised here it would come out of the worker with its traceback
            return error
        return images


def _workers(batches: int) -> int:
    """None where one batch is all there is, or in a process that may have no children."""
    if batches < 2 or multiprocessing.current_process().daemon:
        return 0
    return min(available_cpus(), MAX_WORKERS, batches)
