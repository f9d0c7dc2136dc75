"""From image files to uint8 arrays, and from one size to another.

All resizing, of files and of arrays, is Pillow's bicubic with its support widened when shrinking
(antialiased), on uint8: the same pixels on every device, and from whichever form of a set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hugbench.data.machine import available_cpus
from hugbench.errors import UserError

Pixels = NDArray[np.uint8]

_GREY = {"1", "L", "LA"}
_CHUNK = 64


@dataclass(frozen=True)
class Decoder:
    """Reads images of one shape.

    Greyscale: modes 1, L and LA. Anything else becomes RGB. Alpha is dropped and the orientation
    in EXIF is not looked at, as torchvision's ImageFolder does.

    Attributes:
        folder: what files are relative to.
        like: the file that the others must be as large as.
        shape: (channels, height, width) of every result.
        resize: whether images of another size are brought to it, or refused.
    """

    folder: Path
    like: str
    shape: tuple[int, int, int]
    resize: bool

    def __call__(self, file: str) -> Pixels:
        """The pixels (C, H, W) of a file.

        Raises:
            UserError: the file cannot be read, is of another size, or has more than 8 bits.
        """
        channels, height, width = self.shape
        path = self.folder / file
        with _reading(path), Image.open(path) as image:
            if not self.resize and image.size != (width, height):
                raise UserError(
                    "images of different sizes",
                    where=path,
                    found=f"{image.width}x{image.height}",
                    expected=f"{width}x{height} as {self.folder / self.like}, or dataset.image_size set",
                )
            converted = _converted(image, path, "L" if channels == 1 else "RGB")
            return _array(_resized(converted, (width, height)))

    def into(self, files: Sequence[str], out: Pixels) -> None:
        """Decode `files` into `out` (N, C, H, W), in threads.

        Raises:
            UserError: as a call, for the first file it holds of.
        """

        def chunk(begin: int) -> None:
            for index, file in enumerate(files[begin : begin + _CHUNK], start=begin):
                out[index] = self(file)

        with ThreadPoolExecutor(available_cpus()) as pool:
            for _ in pool.map(chunk, range(0, len(files), _CHUNK)):
                pass


def fitting(folder: Path, files: Sequence[str], channels: int | None, image_size: int | None) -> Decoder:
    """The decoder for `files`: their size is the first one's, or `image_size` squared.

    Args:
        folder: what `files` are relative to.
        files: at least one.
        channels: 1 or 3; None: 1 if every file is greyscale, else 3.
        image_size: pixels a side; None: the images are all of one size.

    Raises:
        UserError: a file cannot be read.
    """
    depth, height, width = look(folder / files[0])
    if channels is None and depth == 1:
        with ThreadPoolExecutor(available_cpus()) as pool:
            depth = max(pool.map(lambda file: look(folder / file)[0], files))
    shape = channels or depth, image_size or height, image_size or width
    return Decoder(folder, files[0], shape, image_size is not None)


def look(path: Path) -> tuple[int, int, int]:
    """Channels, height and width of an image file, from its header.

    Raises:
        UserError: the file cannot be read.
    """
    with _reading(path), Image.open(path) as image:
        return 1 if image.mode in _GREY else 3, image.height, image.width


def resized(images: Pixels, size: int) -> Pixels:
    """Images (N, C, H, W), C being 1 or 3, as (N, C, size, size). The aspect ratio is not kept."""
    return conformed(images, (images.shape[1], size, size))


def conformed(images: Pixels, shape: tuple[int, int, int]) -> Pixels:
    """Images (N, C, H, W), C being 1 or 3, in another shape, as files of them would be decoded for it.

    Colour becomes greyscale by Pillow's luma (ITU-R 601), greyscale becomes colour by repetition; then the
    images are resized. The aspect ratio is not kept.

    Args:
        images: uint8.
        shape: (channels, height, width), channels being 1 or 3.
    """
    channels, height, width = shape
    if images.shape[1:] == shape:
        return images
    out = np.empty((len(images), *shape), np.uint8)
    for pixels, target in zip(images, out, strict=True):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        if len(pixels) != channels:
            image = image.convert("L" if channels == 1 else "RGB")
        target[:] = _array(_resized(image, (width, height)))
    return out


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Tell a damaged file by its name."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged files
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"this image cannot be read ({reason})", where=path) from error


def _converted(image: Image.Image, path: Path, mode: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        raise UserError(
            "an image of more than 8 bits",
            where=path,
            found=f"mode {image.mode}",
            expected="8 bits a channel",
        )
    if image.mode in {"P", "PA"}:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _array(image: Image.Image) -> Pixels:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
