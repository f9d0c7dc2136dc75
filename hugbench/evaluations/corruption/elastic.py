"""The elastic transform: an affine warp, then every pixel shifted by a smooth random field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from hugbench.evaluations.corruption.constants import Row
from hugbench.evaluations.corruption.filters import smooth
from hugbench.evaluations.corruption.pixels import precise
from hugbench.evaluations.corruption.randomness import Draws

TOLERANCE = 2.0**-9
"""In levels: what float32 may lack where all pixels that are mixed have the same level."""


def elastic_transform(images: Tensor, constants: Row, draws: Draws) -> Tensor:
    """Three corners of a square move by up to `affine` pixels, then each pixel by about `shift`.

    The square is in the middle, its half side a third of the shorter side. The affine map that moves its
    corners so is applied with the image mirrored beyond its border (dcb|abc). The shifts along x and y
    are uniform in ±`shift`, smoothed by a Gaussian of deviation `sigma` cut at 3 sigma (cba|abc, as
    the image then). Both warps are bilinear.
    """
    shift, sigma, affine = constants
    height, width = images.shape[-2:]
    kind = precise(images.device)
    rows = torch.arange(height, dtype=kind, device=images.device)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=kind, device=images.device).expand(height, width)
    moved = affine * (2 * draws.uniform(3, 2).to(kind) - 1)
    xs, ys = _affine(moved, columns, rows)
    warped = _sampled(images.float(), xs, ys, half_pixel=False)
    if shift:
        along_x, along_y = (
            shift * smooth(2 * draws.uniform(height, width) - 1, sigma, truncate=3.0) for _ in range(2)
        )
        warped = _sampled(warped, columns + along_x, rows + along_y, half_pixel=True)
    return warped.add_(TOLERANCE).clamp_(0, 255).to(torch.uint8)


def _affine(moved: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel comes from, x and y (B, H, W), when three corners have moved by (B, 3, 2).

    Corners are (x, y), but their middle is (H // 2, W // 2), as in the reference.
    """
    height, width = columns.shape
    half = max(1, min(height, width) // 3)
    middle = moved.new_tensor((height // 2, width // 2))
    corner = middle + moved.new_tensor((half, -half))  # the second of the three
    first, second, third = moved.unbind(dim=1)
    across = (second - third) / (2 * half)  # the matrix is I + (across, down), by columns
    down = (first - second) / (2 * half)
    a, b, c, d = 1 + across[:, 0], down[:, 0], across[:, 1], 1 + down[:, 1]
    determinant = a * d - b * c
    inverse = torch.where(determinant == 0, determinant, 1 / determinant)
    target = corner + second
    a, b, c, d, inverse = (entry[:, None, None] for entry in (a, b, c, d, inverse))
    x, y = (columns - target[:, 0, None, None]), (rows - target[:, 1, None, None])
    return corner[0] + (d * x - b * y) * inverse, corner[1] + (a * y - c * x) * inverse


def _sampled(images: Tensor, xs: Tensor, ys: Tensor, *, half_pixel: bool) -> Tensor:
    """Images at places, mirrored at the border's edge (cba|abc) or at its pixels (dcb|abc)."""
    height, width = images.shape[-2:]
    if half_pixel:
        grid = torch.stack(((2 * xs + 1) / width - 1, (2 * ys + 1) / height - 1), dim=-1)
    else:
        grid = torch.stack((2 * xs / max(width - 1, 1) - 1, 2 * ys / max(height - 1, 1) - 1), dim=-1)
    return grid_sample(
        images, grid.float(), mode="bilinear", padding_mode="reflection", align_corners=not half_pixel
    )
