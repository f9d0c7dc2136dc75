"""A split of a data set: uint8 images and their labels, in memory or on disk, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.data.crops import Crops
from hugbench.data.decode import cut


class Images(ABC):
    """N images of one split, with `targets` an int64 tensor (N,) on the CPU.

    Attributes:
        targets: labels in [0, C), int64 (N,).
        shape: (channels, height, width) of every image.
        can_be_cut: whether `cropped` is possible: the images are at hand in their own size.
    """

    targets: Tensor
    shape: tuple[int, int, int]
    can_be_cut = False

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def rows(self) -> Tensor:
        """Where each image stands in the whole split that this one was chosen from, int64 (N,), CPU."""
        return torch.arange(len(self))

    @abstractmethod
    def subset(self, indices: Tensor) -> Images:
        """The images at `indices` (int64, CPU), in that order."""

    @abstractmethod
    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches (images uint8 (B, C, H, W), targets int64 (B,), indices int64 (B,)).

        Images and targets are on `device`, indices (into this split) on the CPU. `order` is a
        permutation or selection (int64, CPU); None goes through the split as it is. The images
        are the caller's own, to change as it likes.
        """

    def cropped(self, crops: Crops) -> Images:
        """For each image a part of it as it is in its file, drawn by its row, in the same shape.

        Raises:
            ValueError: not where `can_be_cut` is false.
        """
        raise ValueError("these images are not at hand in their own size: no parts can be cut from them")

    def picker(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """From rows of this split, int64 (B,) on any device, to their images as `batches` gives them."""
        return lambda rows: next(self.batches(len(rows), device, rows.cpu()))[0]

    def check(self) -> None:
        """Make sure that the images are still what they were.

        Raises:
            ChangedInUse: they are not.
        """


@dataclass(frozen=True)
class Dataset:
    """A data set as a run sees it.

    Attributes:
        name: the name in the suite.
        classes: class names, C of them; label i is `classes[i]`.
        train: what is trained on (the validation images are not in it).
        validation: held-out training images, or None.
        test: test images.
        mean, std: per channel in [0, 1], of the training images.
        checksum: sha256 over all images and labels of the full data set.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    validation: Images | None
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str


def rounds(count: int, batch_size: int, order: Tensor | None, drop_last: bool) -> tuple[Tensor, ...]:
    """The indices of every batch of `Images.batches` over `count` images."""
    order = torch.arange(count) if order is None else order
    if drop_last:
        order = order[: len(order) // batch_size * batch_size]
    return torch.split(order, batch_size) if len(order) else ()


class ResidentImages(Images):
    """Images in memory, as one tensor that all subsets share.

    On a CUDA device batches are selected from a copy of that tensor there, which is made at the
    first batch if it takes no more than half of the free memory; elsewhere a batch at a time is
    moved. On a CPU nothing but the batch is copied.

    Args:
        images: uint8 (N, C, H, W), contiguous, on the CPU.
        targets: int64 (N,), on the CPU.
        resized: `images` are not in their own size; then parts are cut from `originals`.
        originals: the same images in their files, if they lie in some.
        unchanged: raises `ChangedInUse` if the images are not what they were; asked after each batch.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        resized: bool = False,
        originals: Images | None = None,
        unchanged: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = _Pool(images, unchanged)
        self._originals = originals if resized else None
        self.can_be_cut = not resized or originals is not None
        self._rows = torch.arange(len(images))
        self.targets = targets
        channels, height, width = images.shape[1:]
        self.shape = (channels, height, width)

    @property
    def rows(self) -> Tensor:
        """See `Images.rows`."""
        return self._rows

    def subset(self, indices: Tensor) -> ResidentImages:
        """The images at `indices` (int64, CPU), in that order; no pixel is copied."""
        chosen = object.__new__(ResidentImages)
        chosen._pool, chosen.shape = self._pool, self.shape
        chosen._originals, chosen.can_be_cut = self._originals, self.can_be_cut
        chosen._rows, chosen.targets = self._rows[indices], self.targets[indices]
        return chosen

    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Images.batches`."""
        parts = rounds(len(self), batch_size, order, drop_last)
        if not parts:
            return
        chosen = torch.cat(parts)
        pool = self._pool.on(device)
        rows = torch.split(self._rows[chosen].to(pool.device), batch_size)
        targets = torch.split(self.targets[chosen].to(device), batch_size)
        for indices, where, labels in zip(parts, rows, targets, strict=True):
            images = pool.index_select(0, where).view(-1, *self.shape)
            self._pool.check(pool)
            yield moved(images, device), labels, indices

    def cropped(self, crops: Crops) -> Images:
        """See `Images.cropped`; from the files or, where that is their own size, from the pixels."""
        if not self.can_be_cut:
            return super().cropped(crops)
        if self._originals is not None:
            return self._originals.subset(self._rows).cropped(crops)
        return _Cropped(self, crops)

    def picker(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """See `Images.picker`; where the pixels are on `device`, it waits for nothing."""
        pool = self._pool.on(device)
        places = self._rows.to(pool.device)

        def pick(rows: Tensor) -> Tensor:
            where = places.index_select(0, rows.to(pool.device))
            images = pool.index_select(0, where).view(-1, *self.shape)
            self._pool.check(pool)
            return moved(images, device)

        return pick

    def check(self) -> None:
        """See `Images.check`."""
        self._pool.unchanged()


class _Cropped(Images):
    """Parts of images in memory."""

    def __init__(self, images: Images, crops: Crops) -> None:
        self._images, self._crops = images, crops
        self.targets, self.shape = images.targets, images.shape

    @property
    def rows(self) -> Tensor:
        """See `Images.rows`."""
        return self._images.rows

    def subset(self, indices: Tensor) -> Images:
        """The parts at `indices` (int64, CPU), in that order."""
        return _Cropped(self._images.subset(indices), self._crops)

    def batches(
        self, batch_size: int, device: torch.device, order: Tensor | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See `Images.batches`."""
        rows = self.rows
        for images, targets, indices in self._images.batches(
            batch_size, torch.device("cpu"), order, drop_last
        ):
            parts = torch.from_numpy(cut(images.numpy(), rows[indices].tolist(), self._crops))
            yield moved(parts, device), targets.to(device), indices


def moved(images: Tensor, device: torch.device) -> Tensor:
    """A batch on `device`; from the CPU to CUDA without waiting."""
    if device.type == "cuda" and images.device.type == "cpu":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)


class _Pool:
    """The pixels of a split, (N, C * H * W), and their copies on devices."""

    def __init__(self, images: Tensor, unchanged: Callable[[], None]) -> None:
        self.unchanged = unchanged
        self._pixels = images.view(len(images), -1)
        self._copies: dict[torch.device, Tensor] = {}

    def on(self, device: torch.device) -> Tensor:
        """The pixels on `device` if it is CUDA and has room, else on the CPU."""
        if device.type != "cuda":
            return self._pixels
        if device not in self._copies and self._pixels.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
            copy = self._pixels.to(device)
            self.unchanged()
            self._copies[device] = copy
        return self._copies.get(device, self._pixels)

    def check(self, pool: Tensor) -> None:
        """Make sure that what was read from a `pool` that `on` gave is right; a copy cannot change."""
        if pool is self._pixels:
            self.unchanged()
