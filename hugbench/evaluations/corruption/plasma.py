"""Plasma: a cloudy height map by the diamond-square algorithm."""

from __future__ import annotations

from torch import Tensor


def plasma_side(height: int, width: int) -> int:
    """The side of the map that an image is covered with: the least power of two not below either, >= 2."""
    return max(2, 1 << (max(height, width) - 1).bit_length())


def plasma(uniforms: Tensor, decay: float) -> Tensor:
    """Maps in [0, 1], one per row of numbers; they wrap around at their borders, as the reference's do.

    A. Fournier, D. Fussell, L. Carpenter, Computer Rendering of Stochastic Models, CACM 25(6), 1982.
    The grid starts as one point of height 0 and is halved until it is one pixel wide: each square's
    middle, then the middle of each of its edges, is the mean of the four points around it plus a
    displacement, uniform in ±amplitude² with an amplitude of 100 that `decay` divides at each halving.

    Args:
        uniforms: floating (B, side² - 1), side a power of two, in [0, 1), in the reference's order: at
            each halving those of the squares' middles, of the upper edges' and of the left edges'.
        decay: > 1; the larger, the smoother.

    Returns:
        (B, side, side) in the type of `uniforms`.
    """
    count, side = len(uniforms), round((uniforms.shape[1] + 1) ** 0.5)
    heights = uniforms.new_zeros(count, side, side)
    step, amplitude, used = side, 100.0, 0
    while step >= 2:
        half, cells = step // 2, (side // step) ** 2
        corners = heights[:, ::step, ::step]
        middles, uppers, lefts = (
            _displacements(uniforms[:, used + part * cells : used + (part + 1) * cells], amplitude).view_as(
                corners
            )
            for part in range(3)
        )
        below = corners + corners.roll(-1, 1)
        centres = (below + below.roll(-1, 2)) / 4 + middles
        heights[:, half::step, half::step] = centres
        heights[:, ::step, half::step] = (
            (centres + centres.roll(1, 1)) + (corners + corners.roll(-1, 2))
        ) / 4 + uppers
        heights[:, half::step, ::step] = (
            (centres + centres.roll(1, 2)) + (corners + corners.roll(-1, 1))
        ) / 4 + lefts
        step, amplitude, used = half, amplitude / decay, used + 3 * cells
    heights -= heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)


def _displacements(uniforms: Tensor, amplitude: float) -> Tensor:
    return (uniforms * (2 * amplitude) - amplitude) * amplitude
