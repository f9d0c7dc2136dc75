"""Images in folders: decoded into memory once, or streamed; what is known of them is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hugbench.data.cache import FOLDER, Entry, cached
from hugbench.data.decode import Decoder, fitting, look
from hugbench.data.known import KNOWN
from hugbench.data.listing import Listing, Part
from hugbench.data.machine import available_memory
from hugbench.data.measure import measure, sums_of
from hugbench.data.samples import contents
from hugbench.data.streaming import StreamedImages
from hugbench.data.whole import Arrays, Whole, kept, key, place, resident, sums_of_rows
from hugbench.suite.schema import DatasetSpec

MANY = 200_000
"""Images that it takes minutes to decode."""


@dataclass(frozen=True)
class Folder:
    """A folder of images on its way to a data set.

    Attributes:
        spec: which images, and how large.
        root: the data folder.
        listing: what lies in the folder.
        notify: is called with a sentence when something is decoded or damaged.
    """

    spec: DatasetSpec
    root: Path
    listing: Listing
    notify: Callable[[str], None]

    def whole(self) -> Whole:
        """In memory or streamed, as asked or as the memory allows.

        Raises:
            UserError: an image cannot be read, or they are of different sizes.
        """
        if self.spec.resident == "always" or (self.spec.resident == "auto" and self._fits):
            return self._resident()
        return self._streamed() if self.spec.survey is None else self._surveyed()

    @cached_property
    def _files(self) -> tuple[str, ...]:
        return self.listing.train.files + self.listing.test.files

    @property
    def _channels(self) -> int | None:
        return KNOWN[self.spec.name].channels if self.spec.name in KNOWN else None

    @property
    def _key(self) -> str:
        return key(self.listing.fingerprint, self.spec, self._channels)

    @property
    def _fits(self) -> bool:
        """Whether all images, if they are like the first, take no more than half of the memory."""
        depth, height, width = look(self.listing.folder / self._files[0])
        size = self.spec.image_size
        pixels = (self._channels or depth) * (size**2 if size else height * width)
        return len(self._files) * pixels <= available_memory() // 2

    def _resident(self) -> Whole:
        entry = cached(place(self.root, self.spec), self._key, self._decode, self.notify)
        depth, height, width = entry.tensors["train.images"].shape[1:]
        files, _ = self._streams(self._decoder((depth, height, width)))
        checksum = None if self.spec.survey is None else self._contents()
        return resident(entry, self.listing.classes, self.spec, files, checksum)

    def _streamed(self) -> Whole:
        entry = cached(place(self.root, self.spec, ".sums"), self._key, self._read, self.notify)
        train, test = self._of_shape(entry)
        return Whole(self.listing.classes, train, test, partial(sums_of_rows, entry), entry.checksum)

    def _surveyed(self) -> Whole:
        """Nothing is decoded but what is measured."""
        entry = cached(place(self.root, self.spec, ".shape"), self._key, self._look, self.notify)
        train, test = self._of_shape(entry)
        return Whole(self.listing.classes, train, test, partial(self._measured, train), self._contents())

    def _measured(self, train: StreamedImages, rows: Tensor) -> Tensor:
        """The sums of the training images at `rows`."""

        def measuring() -> Entry:
            self.notify(f"{self.spec.name}: measuring {len(rows):,} training images, once")
            return Entry({"sums": sums_of(train.subset(rows))}, "")

        chosen = hashlib.sha256(self._key.encode() + rows.numpy().tobytes()).hexdigest()
        where = place(self.root, self.spec, f".survey-{chosen[:10]}")
        return cached(where, chosen, measuring, self.notify).tensors["sums"]

    def _contents(self) -> str:
        """The checksum over names, sizes and samples of the files."""

        def reading() -> Entry:
            if len(self._files) > MANY:
                self.notify(f"{self.spec.name}: reading samples of {len(self._files):,} files, once")
            return Entry({}, contents(self.listing))

        where = self.root / FOLDER / f"{self.spec.name}.contents.safetensors"
        return cached(where, self.listing.fingerprint, reading, self.notify).checksum

    def _decode(self) -> Entry:
        self.notify(f"{self.spec.name}: decoding {len(self._files):,} images, once")
        decoder = self._fitting()
        return kept(_decoded(self.listing.train, decoder), _decoded(self.listing.test, decoder))

    def _read(self) -> Entry:
        hint = " (dataset.survey: 20000 would read as many)" if len(self._files) > MANY else ""
        self.notify(f"{self.spec.name}: reading {len(self._files):,} images, once{hint}")
        decoder = self._fitting()
        sums, checksum = measure(*self._streams(decoder))
        return Entry({"shape": torch.tensor(decoder.shape), "sums": sums}, checksum)

    def _look(self) -> Entry:
        return Entry({"shape": torch.tensor(self._fitting().shape)}, "")

    def _fitting(self) -> Decoder:
        folder, size = self.listing.folder, self.spec.image_size
        return fitting(folder, self._files, self._channels, size, self.spec.shorter_side)

    def _decoder(self, shape: tuple[int, int, int]) -> Decoder:
        resize, shorter_side = self.spec.image_size is not None, self.spec.shorter_side
        return Decoder(self.listing.folder, self._files[0], shape, resize, shorter_side)

    def _of_shape(self, entry: Entry) -> tuple[StreamedImages, StreamedImages]:
        depth, height, width = entry.tensors["shape"].tolist()
        return self._streams(self._decoder((depth, height, width)))

    def _streams(self, decoder: Decoder) -> tuple[StreamedImages, StreamedImages]:
        return _stream(self.listing.train, decoder), _stream(self.listing.test, decoder)


def _decoded(part: Part, decoder: Decoder) -> Arrays:
    images = np.empty((len(part.files), *decoder.shape), np.uint8)
    decoder.into(part.files, images)
    return images, torch.tensor(part.labels)


def _stream(part: Part, decoder: Decoder) -> StreamedImages:
    return StreamedImages(part.files, torch.tensor(part.labels), decoder)
