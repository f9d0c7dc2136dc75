"""How uniformly a set of directions covers the unit sphere: energy, separation, Gram determinant.

Each function takes points of any length, puts them on the sphere, and returns one number per set.
All are exact and differentiable once, run in float32 at least (also inside autocast), and are
finite, gradient included, at coincident, antipodal and zero vectors. Energy and separation work
through the pairs in blocks, so memory grows with n, not with n²: 100,000 points fit.

Source: Liu et al., Learning towards Minimum Hyperspherical Energy, NeurIPS 2018, and Liu, Yu,
Weller, Schölkopf, Generalizing and Decoupling Neural Collapse via Hyperspherical Uniformity Gap,
ICLR 2023 (arXiv 2303.06484).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hugbench.criteria.sphere import (
    Distance,
    check_exponent,
    full_precision,
    kernel_and_slope,
    normalise,
    riesz_kernel,
    squared_chord_,
)

__all__ = [
    "LARGEST_GRAM",
    "gram_log_determinant",
    "hyperspherical_energy",
    "hyperspherical_separation",
    "normalise",
]

BLOCK = 256
LARGEST_GRAM = 16_384


def hyperspherical_energy(
    x: Tensor,
    s: float = 2.0,
    *,
    distance: Distance = "chord",
    reduction: Literal["mean", "sum"] = "mean",
    sampled: int | None = None,
    on_sphere: bool = False,
) -> Tensor:
    """Riesz energy of the pairs: the smaller, the more uniform.

    Mean or sum over i < j of K_s(ρ(x̂_i, x̂_j)), with K_s(ρ) = ρ^−s for s > 0, −log ρ for s = 0 and
    −ρ^−s for s < 0. s = 1 is the Thomson problem; minima are regular simplices for n ≤ d + 1.

    Args:
        x: (..., n, d), floating point.
        s: exponent, between −64 and 8 (half of that for the squared chord).
        distance: ρ is the chord, its square, or the angle in radians.
        reduction: over the n(n − 1)/2 pairs.
        sampled: estimate from this many points, drawn without replacement from torch's global
            generator; unbiased in value and gradient. None for all points.
        on_sphere: x is the result of `normalise` already.

    Returns:
        (...), 0 for fewer than two points.

    Raises:
        ValueError: an exponent that overflows, or fewer than two points to sample.
    """
    check_exponent("s", s, distance)
    if sampled is not None and sampled < 2:
        raise ValueError(f"sampled: expected at least 2, found {sampled}")
    pairs = _pairs(x.shape[-2])
    with full_precision(x):
        if sampled is not None and sampled < x.shape[-2]:
            x = x.index_select(-2, torch.randperm(x.shape[-2], device=x.device)[:sampled])
        points = x if on_sphere else normalise(x)
        mean: Tensor = _MeanEnergy.apply(points, s, distance)
        return mean if reduction == "mean" else mean * pairs


def hyperspherical_separation(x: Tensor, *, distance: Distance = "chord", on_sphere: bool = False) -> Tensor:
    """The smallest distance of two points (Tammes' problem): the larger, the more uniform.

    min over i < j of ρ(x̂_i, x̂_j); the gradient is that of one closest pair.

    Args:
        x: (..., n, d), floating point, n ≥ 2.
        distance: ρ is the chord, its square, or the angle in radians.
        on_sphere: x is the result of `normalise` already.

    Returns:
        (...).

    Raises:
        ValueError: fewer than two points.
    """
    if x.shape[-2] < 2:
        raise ValueError(f"x: expected at least 2 points, found {x.shape[-2]}")
    with full_precision(x):
        points = x if on_sphere else normalise(x)
        first, second = (
            points.gather(-2, index[..., None, None].expand(*index.shape, 1, points.shape[-1]))
            for index in _closest_pair(points.detach())
        )
        return -riesz_kernel((first * second).sum((-2, -1)), -1.0, distance)


def gram_log_determinant(x: Tensor, eps: float = 1.0, *, on_sphere: bool = False) -> Tensor:
    """log det of the Gaussian Gram matrix: the larger, the more uniform; at most 0.

    log det G, G_ij = exp(−eps² ‖x̂_i − x̂_j‖²), with 1e-13 · n · max(1, eps²) added to the diagonal,
    above what rounding does to G, so that coincident points give a large finite number. Computed in
    float64 whatever the input (on the CPU, where the device has none), since G is then singular.

    Args:
        x: (..., n, d), floating point, n ≤ 16,384 (the matrix is held whole).
        eps: inverse width of the kernel, positive.
        on_sphere: x is the result of `normalise` already.

    Returns:
        (...), in the precision of `normalise(x)`.

    Raises:
        ValueError: eps is not positive and finite, or there are too many points.
    """
    if not 0 < eps < float("inf"):
        raise ValueError(f"eps: expected positive and finite, found {eps}")
    if x.shape[-2] > LARGEST_GRAM:
        raise ValueError(f"x: expected at most {LARGEST_GRAM} points, found {x.shape[-2]}")
    with full_precision(x):
        points = x if on_sphere else normalise(x)
        wide = points.cpu().double() if x.device.type == "mps" else points.double()
        logarithm: Tensor = _GramLogDeterminant.apply(wide, eps)
        return logarithm.to(points)


class _MeanEnergy(torch.autograd.Function):
    """Mean energy of unit vectors; the gradient is computed in the same sweep over the blocks."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, s: float, distance: Distance) -> Tensor:
        n = points.shape[-2]
        scale = 1 / max(1, _pairs(n))
        total = points.new_zeros(points.shape[:-2])
        gradient = torch.zeros_like(points) if ctx.needs_input_grad[0] else None
        for start in range(0, n, BLOCK):
            head, tail = points[..., start : start + BLOCK, :], points[..., start:, :]
            rows = head.shape[-2]
            value, slope = kernel_and_slope(squared_chord_(head @ tail.mT), s, distance)
            for table in (value, slope):
                table.diagonal(dim1=-2, dim2=-1).zero_()
            value[..., :rows].mul_(0.5)  # the square on the diagonal holds each of its pairs twice
            total += value.sum((-2, -1)) * scale
            if gradient is not None:
                slope.mul_(-2 * scale)
                gradient[..., start : start + rows, :] += slope @ tail
                if start + rows < n:
                    gradient[..., start + rows :, :] += slope[..., rows:].mT @ head
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (own,) = ctx.saved_tensors
        return own * gradient[..., None, None], None, None


class _GramLogDeterminant(torch.autograd.Function):
    """log det of the Gaussian Gram matrix of float64 unit vectors, by Cholesky."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, eps: float) -> Tensor:
        n = points.shape[-2]
        gram = (points @ points.mT).sub_(1).clamp_(max=0).mul_(2 * eps**2).exp_()
        gram.diagonal(dim1=-2, dim2=-1).fill_(1 + 1e-13 * n * max(1.0, eps**2))
        factor, failed = torch.linalg.cholesky_ex(gram)
        if ctx.needs_input_grad[0]:
            slope = torch.cholesky_inverse(factor).mul_(gram).mul_(4 * eps**2)
            slope.diagonal(dim1=-2, dim2=-1).zero_()
            ctx.save_for_backward(slope @ points)
        logarithm: Tensor = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1).mul_(2)
        return logarithm.masked_fill_(failed > 0, float("nan"))  # only NaN points fail

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (own,) = ctx.saved_tensors
        return own * gradient[..., None, None], None


@torch.no_grad()
def _closest_pair(points: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (...), (...) of a pair with the largest cosine, searched block by block."""
    best = points.new_full(points.shape[:-2], -float("inf"))
    first = torch.zeros_like(best, dtype=torch.int64)
    second = torch.ones_like(first)
    for start in range(0, points.shape[-2] - 1, BLOCK):
        cosine = points[..., start : start + BLOCK, :] @ points[..., start:, :].mT
        cosine.diagonal(dim1=-2, dim2=-1).fill_(-float("inf"))
        columns = cosine.shape[-1]
        largest, place = cosine.flatten(-2).max(-1)
        closer = largest > best
        best = torch.where(closer, largest, best)
        first = torch.where(closer, start + place // columns, first)
        second = torch.where(closer, start + place % columns, second)
    return first, second


def _pairs(n: int) -> int:
    return n * (n - 1) // 2
