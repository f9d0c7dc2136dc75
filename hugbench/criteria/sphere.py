"""Directions, cosines and kernels of distances on the unit sphere: exact gradients, finite everywhere.

Every distance here comes from a cosine: the squared chord of two unit vectors is q = 2 − 2⟨û, v̂⟩.
In float32 its rounding error is about 1e-7, so a chord ρ has a relative error of 1e-7 / ρ²: 1e-5 at
ρ = 0.1, 1e-3 at 0.01. The kernels take points closer than `8 ε`^½ (ρ = 1e-3 in float32, 4e-8 in
float64) as that far apart, and let the gradient through, so near-coincident points still part.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Distance = Literal["chord", "squared_chord", "angle"]

TINY_NORM = 1e-12
LARGEST_EXPONENT = 8.0
SMALLEST_EXPONENT = -64.0
CHEAP_POWERS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)  # torch has thirty times faster kernels for these


def normalise(x: Tensor) -> Tensor:
    """Vectors scaled to length 1, float32 at least.

    A vector no longer than 1e-12 has no direction: it becomes the zero vector and gets a zero
    gradient. Its cosine with everything is 0, so it counts as perpendicular to everything.

    Args:
        x: (..., d), floating point; half precision is computed in float32, float64 stays.

    Returns:
        (..., d), of length 1 or 0.
    """
    result: Tensor = _Normalise.apply(widen(x))
    return result


def target_cosines(features: Tensor, proxies: Tensor, labels: Tensor) -> Tensor:
    """The cosine of every feature with the proxy of its own class, without the (B, C) matrix of all.

    Args:
        features: (B, d), of any length.
        proxies: (C, d), unit vectors, of the dtype of the features.
        labels: int64 (B,).

    Returns:
        (B,), 0 where the feature is a zero vector.
    """
    result: Tensor = _TargetCosines.apply(features, proxies, labels)
    return result


def riesz_kernel(cosine: Tensor, s: float, distance: Distance = "chord") -> Tensor:
    """K_s of the distance of two unit vectors, given their cosine.

    K_s(ρ) = ρ^−s for s > 0, −log ρ for s = 0, −ρ^−s for s < 0: always a decreasing function of the
    distance ρ, which is the chord √(2 − 2 cos), its square, or the angle.

    Args:
        cosine: any shape, float32 or float64.
        s: the exponent.
        distance: which distance ρ is.
    """
    result: Tensor = _RieszKernel.apply(cosine, s, distance)
    return result


def check_exponent(name: str, s: float, distance: Distance) -> None:
    """Refuse an exponent with which float32 overflows (closest points: chord 1e-3; farthest: 2).

    Raises:
        ValueError: says the argument's name, what was expected and what was found.
    """
    factor = 2.0 if distance == "squared_chord" else 1.0
    low, high = SMALLEST_EXPONENT / factor, LARGEST_EXPONENT / factor
    if not (math.isfinite(s) and low <= s <= high):
        raise ValueError(
            f"{name}: expected between {low:g} and {high:g} with distance {distance!r}, found {s}"
        )


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """A context without autocast on the device of x, at no cost where there is none."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def widen(x: Tensor) -> Tensor:
    """The tensor in float32, or as it is in float64."""
    return x if x.dtype == torch.float64 else x.float()


def squared_chord_(cosine: Tensor) -> Tensor:
    """2 − 2 cos in place, kept inside what floating point resolves: [8 ε, 4 − 8 ε]."""
    margin = 8 * torch.finfo(cosine.dtype).eps
    return cosine.mul_(-2).add_(2).clamp_(margin, 4 - margin)


def kernel_and_slope(q: Tensor, s: float, distance: Distance) -> tuple[Tensor, Tensor]:
    """K_s of the distance, and its derivative with respect to the squared chord q in (0, 4)."""
    if distance == "angle":
        angle = q.sqrt().mul_(0.5).asin_().mul_(2)
        value, slope = _power_and_slope(angle, s)
        return value, slope.mul_((q * (4 - q)).rsqrt_())
    value, slope = _power_and_slope(q, s / 2 if distance == "chord" else s)
    if s == 0 and distance == "chord":
        return value.mul_(0.5), slope.mul_(0.5)
    return value, slope


def _power_and_slope(base: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """base^−p (p > 0), −log base (p = 0) or −base^−p (p < 0), and the derivative."""
    if p == 0:
        return base.log().neg_(), base.reciprocal().neg_()
    if -p in CHEAP_POWERS:
        value = base.pow(-p)
        slope = value / base
    else:
        slope = base.pow(-p - 1)
        value = slope * base
    return (value if p > 0 else value.neg_()), slope.mul_(-abs(p))


class _Normalise(torch.autograd.Function):
    """The derivative in half the passes over memory that autograd takes; it can be derived again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        unit: Tensor = x / _norm(x)
        ctx.save_for_backward(x, unit)
        return unit

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, unit = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, unit).unsqueeze(-1)
        across = torch.addcmul(gradient, unit, along, value=-1)
        norm = _norm(x)
        return across / norm if torch.is_grad_enabled() else across.div_(norm)


class _TargetCosines(torch.autograd.Function):
    """The proxies of the labels are gathered twice rather than kept, to save memory and its traffic."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, proxies: Tensor, labels: Tensor) -> Tensor:
        inverse = _norm(features).reciprocal_()
        own = proxies.index_select(0, labels)
        cosine: Tensor = own.mul_(features).sum(1, keepdim=True).mul_(inverse)
        ctx.save_for_backward(features, proxies, labels, inverse, cosine)
        return cosine.squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, proxies, labels, inverse, cosine = ctx.saved_tensors
        scale = gradient.unsqueeze(1) * inverse
        to_features = to_proxies = None
        if ctx.needs_input_grad[0]:
            own = proxies.index_select(0, labels)
            to_features = own.mul_(scale).addcmul_(features, scale * cosine * inverse, value=-1)
        if ctx.needs_input_grad[1]:
            to_proxies = torch.zeros_like(proxies).index_add_(0, labels, features * scale)
        return to_features, to_proxies, None


class _RieszKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cosine: Tensor, s: float, distance: Distance) -> Tensor:
        value, slope = kernel_and_slope(squared_chord_(cosine.clone()), s, distance)
        ctx.save_for_backward(slope.mul_(-2))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


def _norm(x: Tensor) -> Tensor:
    """‖x‖ over the last dimension, kept; infinite for vectors without a direction."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.masked_fill(norm <= TINY_NORM, math.inf)
