"""Frost: an image behind an icy window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hugbench.errors import UserError
from hugbench.evaluations.corruption.ice import ice
from hugbench.evaluations.corruption.pixels import precise
from hugbench.evaluations.corruption.randomness import Draws

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The reference's photographs, of ImageNet-C/create_c in github.com/hendrycks/robustness.

It has a sixth that it never draws."""


def frost(images: Tensor, constants: Sequence[float], draws: Draws, textures: Sequence[Tensor]) -> Tensor:
    """Images mixed with a piece of a texture of ice (D. Hendrycks, T. Dietterich, arXiv 1903.12261).

    Draws `integers(textures)`, which one, and `uniform(2)`, where the piece begins: its first row is the
    number times (rows of the texture - H), cut off, its first column likewise.

    Args:
        images: uint8 (B, C, H, W).
        constants: share of the image, share of the ice (and the size of the textures, used before).
        draws: one source of numbers per image.
        textures: uint8 (C, h, w) each, of `frost_textures`; smaller ones than the images are repeated.

    Returns:
        uint8 (B, C, H, W).
    """
    share, ice_share = constants[0], constants[1]
    height, width = images.shape[-2:]
    device = images.device
    sizes = torch.tensor([texture.shape[1:] for texture in textures], device=device)
    ends = sizes.prod(1).cumsum(0)
    which = draws.integers(len(textures))
    room = (sizes - sizes.new_tensor((height, width))).clamp(min=0)
    firsts = (draws.uniform(2).to(precise(device)) * room[which]).long()
    rows, columns = (
        (firsts[:, axis, None] + torch.arange(length, device=device)) % sizes[which, axis, None]
        for axis, length in enumerate((height, width))
    )
    starts = (ends - sizes.prod(1))[which, None, None]
    places = starts + rows[:, :, None] * sizes[which, 1, None, None] + columns[:, None, :]
    pixels = torch.cat([texture.to(device).flatten(1) for texture in textures], 1)
    pieces = pixels[:, places].transpose(0, 1)
    mixed = images.to(precise(device)) * share + pieces.to(precise(device)) * ice_share
    return mixed.clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def frost_textures(size: float, channels: int, folder: Path | None = None) -> tuple[Tensor, ...]:
    """The five textures: hugbench's own, or the reference's photographs where `folder` holds them.

    Args:
        size: of the textures, over that of the photographs.
        channels: 1 (luminance, ITU-R BT.601) or 3.
        folder: with the files `PHOTOGRAPHS`.

    Returns:
        uint8 (channels, h, w) each.

    Raises:
        UserError: a photograph is missing or cannot be read.
    """
    pictures = map(Image.fromarray, ice()) if folder is None else map(_opened, _paths(folder))
    mode = "L" if channels == 1 else "RGB"
    arrays = (
        np.asarray(picture.convert(mode)).reshape(*picture.size[::-1], channels) for picture in pictures
    )
    return tuple(torch.from_numpy(_resized(array, size)).permute(2, 0, 1).contiguous() for array in arrays)


def check_frost_dir(folder: Path, height: int, width: int, size: float) -> None:
    """That a folder holds the photographs, each larger than images of height x width pixels at that size.

    Raises:
        UserError: it does not; says which file and why.
    """
    for path in _paths(folder):
        columns, rows = (round(length * size) for length in _opened(path).size)
        if rows <= height or columns <= width:
            raise UserError(
                "a photograph of frost is too small",
                where=path,
                key="frost_dir",
                found=f"{columns}x{rows} once resized by {size:.3g}",
                expected=f"more than {width}x{height}, the images' size",
            )


def _paths(folder: Path) -> list[Path]:
    paths = [folder / name for name in PHOTOGRAPHS]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            "photographs of frost are missing" if folder.is_dir() else "no such folder",
            where=folder,
            key="frost_dir",
            found=None if not folder.is_dir() else f"no {', '.join(missing)}",
            expected=f"the files {', '.join(PHOTOGRAPHS)} of github.com/hendrycks/robustness",
        )
    return paths


def _opened(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, SyntaxError) as error:  # Pillow raises either for a broken PNG
        raise UserError(f"not a picture: {error}", where=path, key="frost_dir") from None
    return picture


def _resized(picture: np.ndarray, size: float) -> np.ndarray:
    """uint8 (h, w, C) resized by linear interpolation between pixels, without smoothing.

    At 1/5, which the reference's small images have, this is every fifth pixel, as OpenCV does it.
    """
    if size == 1:
        return picture.copy()
    x = picture.astype(np.float64)
    for axis in (0, 1):
        length = x.shape[axis]
        places = ((np.arange(round(length * size)) + 0.5) * (1 / size) - 0.5).clip(0, length - 1)
        below = np.floor(places).astype(np.int64)
        part = (places - below).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        above = np.minimum(below + 1, length - 1)
        x = x.take(below, axis) * (1 - part) + x.take(above, axis) * part
    return np.rint(x).astype(np.uint8)
