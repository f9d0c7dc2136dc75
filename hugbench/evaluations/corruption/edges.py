"""Edges and distances of uint8 images, in integers: what spatter draws the rims of drops with.

Source:
    J. Canny, A computational approach to edge detection, IEEE TPAMI 8(6), 1986; G. Borgefors, Distance
    transformations in digital images, Computer Vision, Graphics, and Image Processing 34(3), 1986;
    parameters and rounding are those of OpenCV.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import pad

NEIGHBOURS = tuple(step for step in product((-1, 0, 1), repeat=2) if any(step))
DISTANCE_BITS = 16
_LENGTHS: tuple[tuple[float, tuple[tuple[int, int], ...]], ...] = (
    (1.0, ((0, 1), (1, 0), (0, -1), (-1, 0))),
    (1.4, ((1, 1), (1, -1), (-1, 1), (-1, -1))),
    (2.1969, ((1, 2), (1, -2), (-1, 2), (-1, -2), (2, 1), (2, -1), (-2, 1), (-2, -1))),
)
STEPS = tuple((step, round(length * (1 << DISTANCE_BITS))) for length, steps in _LENGTHS for step in steps)
"""The moves of a 5 × 5 distance transform, with their lengths in units of 2^-16 pixels."""


def shifted(padded: Tensor, step: tuple[int, ...], reach: int) -> Tensor:
    """The neighbour of every pixel at (row, column) + step, of images padded by `reach`."""
    height, width = padded.shape[-2] - 2 * reach, padded.shape[-1] - 2 * reach
    top, left = reach + step[0], reach + step[1]
    return padded[..., top : top + height, left : left + width]


def canny(images: Tensor, low: int, high: int) -> Tensor:
    """Edges, bool (B, H, W), of uint8 images (B, H, W).

    The gradient is Sobel's of 3 × 3 pixels, its size |dx| + |dy|. A pixel is an edge if its gradient is a
    maximum along its direction and above `high`, or above `low` and connected to such a one.
    """
    around = pad(images.unsqueeze(1).float(), (1, 1, 1, 1), mode="replicate").squeeze(1).to(torch.int32)
    near = {step: shifted(around, step, 1) for step in NEIGHBOURS}
    dx = (near[-1, 1] - near[-1, -1]) + 2 * (near[0, 1] - near[0, -1]) + (near[1, 1] - near[1, -1])
    dy = (near[1, -1] - near[-1, -1]) + 2 * (near[1, 0] - near[-1, 0]) + (near[1, 1] - near[-1, 1])
    size = dx.abs() + dy.abs()
    edges = _maxima(size, dx, dy) & (size > low)
    strong, found = edges & (size > high), 0
    while found != (found := int(strong.sum())):
        strong = torch.nn.functional.max_pool2d(strong[:, None].float(), 3, 1, 1)[:, 0].bool() & edges
    return strong


def _maxima(size: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Where the gradient is largest along its direction, told in steps of 45 degrees."""
    around = pad(size, (1, 1, 1, 1))
    near = {step: shifted(around, step, 1) for step in NEIGHBOURS}
    slope = 13573 * dx.abs()  # the tangent of 22.5 degrees in units of 2^-15; that of 67.5 is 2 more
    rise = dy.abs() << 15
    flat, steep = rise < slope, rise > slope + (dx.abs() << 16)
    along_x = (size > near[0, -1]) & (size >= near[0, 1])
    along_y = (size > near[-1, 0]) & (size >= near[1, 0])
    falling = (size > near[-1, 1]) & (size > near[1, -1])
    rising = (size > near[-1, -1]) & (size > near[1, 1])
    diagonal = torch.where((dx ^ dy) < 0, falling, rising)
    return torch.where(flat, along_x, torch.where(steep, along_y, diagonal))


def distances(points: Tensor, limit: int) -> Tensor:
    """How far every pixel is from the nearest point, at most `limit`, int32 (B, H, W) in 2^-16 pixels.

    Distances are lengths of paths of the moves of a chess king (1 and 1.4) and knight (2.1969).

    Args:
        points: bool (B, H, W).
        limit: in pixels; also the distance where there is no point.
    """
    farthest = limit << DISTANCE_BITS
    around = pad((~points).to(torch.int32) * farthest, (2, 2, 2, 2), value=farthest)
    inside = shifted(around, (0, 0), 2)
    total = -1
    while total != (total := int(inside.sum(dtype=torch.int64))):
        for step, length in STEPS:
            inside.copy_(torch.minimum(inside, shifted(around, step, 2) + length))
    return inside.contiguous()


def equalised(images: Tensor) -> Tensor:
    """uint8 images (B, H, W) with a level histogram as even as their levels allow, int32.

    An image of one level stays as it is.
    """
    count, pixels = len(images), images[0].numel()
    levels = images.flatten(1).long()
    counts = torch.zeros(count, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    first = levels.amin(dim=1, keepdim=True)
    lowest = counts.gather(1, first)
    rest = (pixels - lowest).float()
    scale = rest.new_tensor(255) / rest  # a plain 255 would be multiplied by the reciprocal
    table = (counts.cumsum(dim=1) - lowest).float().mul_(scale).round_()
    flat = lowest == pixels
    return torch.where(flat, levels, table.gather(1, levels).nan_to_num_()).to(torch.int32).view_as(images)
