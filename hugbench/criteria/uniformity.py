"""How uniformly a set of directions covers the unit sphere: energy, separation, Gram determinant.

Each function takes points of any length, puts them on the sphere, and returns one number per set.
All are exact and differentiable once, run in float32 at least (also inside autocast), and are
finite, gradient included, at coincident, antipodal and zero vectors. Energy and separation work
through the pairs in tiles, so memory grows with n, not with n²: 100,000 points fit.

Source: Liu et al., Learning towards Minimum Hyperspherical Energy, NeurIPS 2018, and Liu, Yu,
Weller, Schölkopf, Generalizing and Decoupling Neural Collapse via Hyperspherical Uniformity Gap,
ICLR 2023 (arXiv 2303.06484).
"""

from __future__ import annotations

from collections.abc import Iterator
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
LEAST_SINGLE = 256
LARGEST_INVERSE = 64.0


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

    Sets of 256 points or more in float32 whose G is far from singular, ‖G⁻¹‖∞ max(1, eps²) ≤ 64, stay
    in float32, in half the time. Its Cholesky factor is exact for G + E with |E_ij| below about
    e = (n + 2 eps² d) 6e-8 (Higham, Accuracy and Stability of Numerical Algorithms, theorem 10.3), and
    that changes log det G by Σ_ij (G⁻¹)_ij E_ij, at most n ‖G⁻¹‖∞ e. So much for the worst case; as
    rounding errors have either sign, the value comes out within 1e-7 n, the gradient within 1e-4.

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
        reachable = points.cpu() if x.device.type == "mps" else points
        logarithm: Tensor = _GramLogDeterminant.apply(reachable, eps)
        return logarithm.to(points)


class _MeanEnergy(torch.autograd.Function):
    """Mean energy of unit vectors; the gradient is computed in the same sweep over the tiles."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, s: float, distance: Distance) -> Tensor:
        scale = 1 / max(1, _pairs(points.shape[-2]))
        sums = [points.new_zeros(points.shape[:-2])]
        gradient = torch.zeros_like(points) if ctx.needs_input_grad[0] else None
        for rows, columns in _tiles(points):
            cosine = points[..., rows, :] @ points[..., columns, :].mT
            value, slope = kernel_and_slope(squared_chord_(cosine), s, distance)
            if rows.start == columns.start:
                for table in (value, slope):
                    table.diagonal(dim1=-2, dim2=-1).zero_()
                value[..., : rows.stop - rows.start].mul_(0.5)  # holds each of its pairs twice
            sums.append(value.sum((-2, -1)))
            if gradient is not None:
                _add_symmetric_product(gradient, slope, rows, columns, points)
        ctx.save_for_backward(None if gradient is None else gradient.mul_(-2 * scale))
        return torch.stack(sums).sum(0).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (own,) = ctx.saved_tensors
        return own * gradient[..., None, None], None, None


class _GramLogDeterminant(torch.autograd.Function):
    """log det of the Gaussian Gram matrix of unit vectors, in float64, by Cholesky."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, eps: float) -> Tensor:
        wants_gradient, precision = ctx.needs_input_grad[0], points.dtype
        solved = _solve_single(points, eps) if _may_be_single(points) else None
        if solved is None:
            points = normalise(points.double())  # float32's lengths are off by more than G bears
            gram, factor, failed = _factor(points, eps)
            inverse = torch.cholesky_inverse(factor) if wants_gradient else None
        else:
            gram, factor, failed, inverse = solved
        if inverse is not None and wants_gradient:
            inverse.diagonal(dim1=-2, dim2=-1).zero_()
            gradient = torch.zeros_like(points)
            for rows, columns in _tiles(points):
                slope = gram[..., columns, rows].mul_(inverse[..., columns, rows])
                _add_symmetric_product(gradient, slope.mT, rows, columns, points)
            outwards = torch.linalg.vecdot(gradient, points).unsqueeze(-1)  # huge near singular matrices
            gradient.addcmul_(points, outwards, value=-1)
            ctx.save_for_backward(gradient.mul_(4 * eps**2).to(precision))
        logarithm: Tensor = factor.diagonal(dim1=-2, dim2=-1).double().log().sum(-1).mul_(2)
        return logarithm.masked_fill_(failed > 0, float("nan"))  # only NaN points fail

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (own,) = ctx.saved_tensors
        return own * gradient[..., None, None].to(own), None


def _factor(points: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The Gram matrix (its lower triangle), its Cholesky factor, and where that failed."""
    n = points.shape[-2]
    gram = points.new_zeros((*points.shape[:-1], n))
    for rows, columns in _tiles(points):
        cosine = points[..., columns, :] @ points[..., rows, :].mT
        gram[..., columns, rows] = cosine.sub_(1).clamp_(max=0).mul_(2 * eps**2).exp_()
    gram.diagonal(dim1=-2, dim2=-1).fill_(1 + 1e-13 * n * max(1.0, eps**2))
    factor, failed = torch.linalg.cholesky_ex(gram)
    return gram, factor, failed


def _may_be_single(points: Tensor) -> bool:
    """Whether to try float32: not while compiling, as what is good enough depends on the values."""
    large = points.shape[-2] >= LEAST_SINGLE
    return large and points.dtype == torch.float32 and not torch.compiler.is_compiling()


def _solve_single(points: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """What `_factor` gives and the inverse of the Gram matrix; None where G is too close to singular."""
    largest = LARGEST_INVERSE / max(1.0, eps**2)
    gram, factor, failed = _factor(points, eps)
    smallest = factor.diagonal(dim1=-2, dim2=-1).amin() ** 2  # no smaller than 1 / ‖G⁻¹‖
    if bool((failed > 0).any()) or not float(smallest) * largest >= 1:
        return None
    inverse = torch.cholesky_inverse(factor)
    norm = torch.linalg.matrix_norm(inverse, float("inf")).amax()
    return (gram, factor, failed, inverse) if float(norm) <= largest else None


@torch.no_grad()
def _closest_pair(points: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (...), (...) of a pair with the largest cosine, searched tile by tile."""
    nearest = points.new_full(points.shape[:-1], -float("inf"))
    for rows, columns in _tiles(points):
        cosine = points[..., rows, :] @ points[..., columns, :].mT
        if rows.start == columns.start:
            cosine.diagonal(dim1=-2, dim2=-1).fill_(-float("inf"))
        part = nearest[..., rows]
        torch.maximum(part, cosine.amax(-1), out=part)
    first = nearest.argmax(-1)
    chosen = points.gather(-2, first[..., None, None].expand(*first.shape, 1, points.shape[-1]))
    cosine = (points @ chosen.mT).squeeze(-1)
    return first, cosine.scatter_(-1, first.unsqueeze(-1), -float("inf")).argmax(-1)


def _tiles(points: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles that cover the pairs i ≤ j of points (..., n, d).

    The first tile of a band of rows starts with a square on the diagonal. On a CPU tiles fit into
    caches, elsewhere they are as wide as can be.
    """
    n = points.shape[-2]
    narrow = points.device.type == "cpu" and not torch.compiler.is_compiling()
    width = BLOCK * torch.get_num_threads() if narrow else n
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        for first in range(start, n, width):
            yield rows, slice(first, min(first + width, n))


def _add_symmetric_product(result: Tensor, tile: Tensor, rows: slice, columns: slice, points: Tensor) -> None:
    """Add to `result` what a symmetric matrix, zero but for a tile and its mirror, makes of the points."""
    _add_product(result[..., rows, :], tile, points[..., columns, :])
    shared = rows.stop - rows.start if rows.start == columns.start else 0
    others = slice(columns.start + shared, columns.stop)
    if others.start < others.stop:
        _add_product(result[..., others, :], tile[..., shared:].mT, points[..., rows, :])


def _add_product(result: Tensor, left: Tensor, right: Tensor) -> None:
    if result.ndim == 2:
        result.addmm_(left, right)
    else:
        result.add_(left @ right)


def _pairs(n: int) -> int:
    return n * (n - 1) // 2
