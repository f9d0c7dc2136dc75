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

from hugbench.data.crops import Crops
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
        shorter_side: pixels that the shorter side is resized to before the centre is cropped out; None
            squeezes the whole image.
    """

    folder: Path
    like: str
    shape: tuple[int, int, int]
    resize: bool
    shorter_side: int | None = None

    def __call__(self, file: str, row: int = 0, crops: Crops | None = None) -> Pixels:
        """The pixels (C, H, W) of a file, of the whole image or of a part of it.

        Args:
            file: relative to the folder.
            row: which image of its split it is, for the crops.
            crops: give the part; None: the whole.

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
            if crops is not None:
                return _array(_cut(converted, row, crops, (width, height)))
            return _array(_framed(converted, (width, height), self.shorter_side))

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


def fitting(
    folder: Path,
    files: Sequence[str],
    channels: int | None,
    image_size: int | None,
    shorter_side: int | None = None,
) -> Decoder:
    """The decoder for `files`: their size is the first one's, or `image_size` squared.

    Args:
        folder: what `files` are relative to.
        files: at least one.
        channels: 1 or 3; None: 1 if every file is greyscale, else 3.
        image_size: pixels a side; None: the images are all of one size.
        shorter_side: see `Decoder`.

    Raises:
        UserError: a file cannot be read.
    """
    depth, height, width = look(folder / files[0])
    if channels is None and depth == 1:
        with ThreadPoolExecutor(available_cpus()) as pool:
            depth = max(pool.map(lambda file: look(folder / file)[0], files))
    shape = channels or depth, image_size or height, image_size or width
    return Decoder(folder, files[0], shape, image_size is not None, shorter_side)


def look(path: Path) -> tuple[int, int, int]:
    """Channels, height and width of an image file, from its header.

    Raises:
        UserError: the file cannot be read.
    """
    with _reading(path), Image.open(path) as image:
        return 1 if image.mode in _GREY else 3, image.height, image.width


def resized(images: Pixels, size: int, shorter_side: int | None = None) -> Pixels:
    """Images (N, C, H, W), C being 1 or 3, as (N, C, size, size), as `Decoder` would give them."""
    return conformed(images, (images.shape[1], size, size), shorter_side)


def conformed(images: Pixels, shape: tuple[int, int, int], shorter_side: int | None = None) -> Pixels:
    """Images (N, C, H, W), C being 1 or 3, in another shape, as files of them would be decoded for it.

    Colour becomes greyscale by Pillow's luma (ITU-R 601), greyscale becomes colour by repetition; then the
    images are resized. The aspect ratio is only kept with `shorter_side`.

    Args:
        images: uint8.
        shape: (channels, height, width), channels being 1 or 3.
        shorter_side: see `Decoder`.
    """
    channels, height, width = shape
    if images.shape[1:] == shape and shorter_side is None:
        return images
    out = np.empty((len(images), *shape), np.uint8)
    for pixels, target in zip(images, out, strict=True):
        image = _image(pixels)
        if len(pixels) != channels:
            image = image.convert("L" if channels == 1 else "RGB")
        target[:] = _array(_framed(image, (width, height), shorter_side))
    return out


def cut(images: Pixels, rows: Sequence[int], crops: Crops) -> Pixels:
    """The parts of images (N, C, H, W) that `crops` gives, as large as these.

    Args:
        images: uint8, C being 1 or 3.
        rows: which image of its split each is, N of them.
        crops: of the epoch.
    """
    out, size = np.empty_like(images), (images.shape[3], images.shape[2])
    for pixels, row, target in zip(images, rows, out, strict=True):
        target[:] = _array(_cut(_image(pixels), row, crops, size))
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


def _framed(image: Image.Image, size: tuple[int, int], shorter_side: int | None) -> Image.Image:
    """The whole image squeezed to `size`, or the centre of it resized in proportion.

    Sides and corner are rounded as torchvision's `Resize` and `CenterCrop` round them.
    """
    if shorter_side is None:
        return _resized(image, size)
    shortest = min(image.size)
    whole = _resized(image, (shorter_side * image.width // shortest, shorter_side * image.height // shortest))
    left, top = round((whole.width - size[0]) / 2), round((whole.height - size[1]) / 2)
    return whole.crop((left, top, left + size[0], top + size[1]))


def _cut(image: Image.Image, row: int, crops: Crops, size: tuple[int, int]) -> Image.Image:
    part = crops.cut(row, *image.size)
    resized = _resized(image.crop(part.box), size)
    return resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if part.mirrored else resized


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def _array(image: Image.Image) -> Pixels:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
