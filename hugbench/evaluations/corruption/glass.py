"""Glass blur: pixels change places with their neighbours, between two Gaussian filters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hugbench.evaluations.corruption.gaussian import gaussian_filter
from hugbench.evaluations.corruption.pixels import to_bytes, to_unit
from hugbench.evaluations.corruption.randomness import Draws


def glass_blur(images: Tensor, constants: Sequence[float], draws: Draws) -> Tensor:
    """Images as seen through frosted glass (D. Hendrycks, T. Dietterich, arXiv 1903.12261).

    The reference visits the pixels from the last row to the first, each row from right to left, and
    means to swap each with a random neighbour; in NumPy the swap only copies the neighbour, which may
    have been overwritten before. Which original pixel ends up where is found for all images at once
    (`_sources`).

    Draws `integers(2 reach, rounds, rows, columns, 2)`: for every pixel visited, in this order, dx + reach
    and dy + reach.

    Args:
        images: uint8 (B, C, H, W).
        constants: sigma of the filter, reach in pixels (neighbours lie at -reach, ..., reach - 1), rounds.
        draws: one source of numbers per image.

    Returns:
        uint8 (B, C, H, W).
    """
    sigma, reach, rounds = constants[0], int(constants[1]), int(constants[2])
    blurred = to_bytes(gaussian_filter(to_unit(images), sigma))
    height, width = images.shape[-2:]
    rows, columns = max(0, height - 2 * reach), max(0, width - 2 * reach)
    offsets = draws.integers(2 * reach, rounds, rows, columns, 2) - reach
    places = torch.arange(height * width, device=images.device).expand(len(images), -1)
    for number in reversed(range(rounds)):
        sources = _sources(offsets[:, number].flip(1, 2), reach, height, width)
        places = sources.gather(1, places)
    shuffled = blurred.flatten(2).gather(2, places[:, None].expand(-1, images.shape[1], -1))
    return to_bytes(gaussian_filter(to_unit(shuffled.view_as(images)), sigma))


def _sources(offsets: Tensor, reach: int, height: int, width: int) -> Tensor:
    """From which place each pixel of one round has its value, int64 (B, H W).

    A pixel takes its neighbour's value: the one from before the round, or, where the neighbour was
    visited earlier (it comes later in the image), the one that this had taken. Chains of the latter
    are followed by pointer doubling: a link to a value that is settled is written as its place + H W.

    Args:
        offsets: int64 (B, rows, columns, 2), dx and dy of the pixels visited, from the top left.
    """
    size, device = height * width, offsets.device
    grid = torch.arange(size, device=device).view(height, width)
    inner = (slice(reach + 1, height - reach + 1), slice(reach + 1, width - reach + 1))
    visited = torch.zeros(height, width, dtype=torch.bool, device=device)
    visited[inner] = True
    taken = grid[inner] + offsets[..., 1] * width + offsets[..., 0]
    earlier = (taken > grid[inner]) & visited.flatten()[taken]
    links = (grid + size).repeat(len(offsets), 1, 1)
    links[:, *inner] = torch.where(earlier, taken, taken + size)
    links = links.flatten(1)
    while bool((open_ := links < size).any()):
        links = torch.where(open_, links.gather(1, links % size), links)
    return links - size
