"""The ball around an image: what is inside, and the way back into it."""

from __future__ import annotations

import torch
from torch import Tensor

from hugbench.errors import HugbenchError
from hugbench.evaluations.adversarial.catalogue import Norm

ROUNDING = {"Linf": 1e-6, "L2": 1e-5}
"""How far outside an attack's image may be by rounding in float32: in pixel values, or as a share of eps."""


class AttackError(HugbenchError):
    """An attack gave back what is no image of its ball."""


def lengths(delta: Tensor, norm: Norm) -> Tensor:
    """The norm of each perturbation, (B,): float32 for Linf, float64 for L2.

    Args:
        delta: (B, ...).
        norm: Linf or L2.
    """
    flat = delta.flatten(1)
    return flat.abs().amax(dim=1) if norm == "Linf" else flat.double().norm(dim=1)


def shaped(values: Tensor, like: Tensor) -> Tensor:
    """One number per image, (B,), so that it multiplies images (B, C, H, W)."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def inside(found: Tensor, images: Tensor, eps: float, norm: Norm, *, beyond: bool = False) -> Tensor:
    """The images found, exactly inside the ball and in [0, 1].

    What is outside by no more than rounding is put back. Afterwards |found - images| <= eps holds in
    exact arithmetic for Linf, and in float64 for L2.

    Args:
        found: what an attack gave, (B, C, H, W).
        images: the clean images, in [0, 1].
        eps: radius.
        norm: of the ball.
        beyond: the attack looks for the nearest image that is misclassified, wherever it lies; one
            beyond the ball is pulled back along the straight line, instead of being an error.

    Raises:
        AttackError: an image is not finite, or outside by more than rounding.
    """
    if found.shape != images.shape or found.dtype != images.dtype:
        raise AttackError(
            f"expected images {images.dtype} {tuple(images.shape)}, found {found.dtype} {tuple(found.shape)}"
        )
    if not found.isfinite().all():
        raise AttackError("the attack gave images that are not finite")
    slack = ROUNDING["Linf"]
    if found.min() < -slack or found.max() > 1 + slack:
        raise AttackError(f"the attack gave values in [{found.min():.6g}, {found.max():.6g}], outside [0, 1]")
    furthest = float(lengths(found - images, norm).max())
    allowed = eps + slack if norm == "Linf" else eps * (1 + ROUNDING["L2"]) + slack
    if furthest > allowed and not beyond:
        raise AttackError(f"the attack went {furthest:.8g} away in {norm}, further than eps = {eps:.8g}")
    found = found.clamp(0, 1)
    return _within_linf(found, images, eps) if norm == "Linf" else _within_l2(found, images, eps)


def _within_linf(found: Tensor, images: Tensor, eps: float) -> Tensor:
    """Clamped to the largest float32 radius below eps; where the sum was rounded up, one float less."""
    radius = torch.nextafter(images.new_tensor(eps), images.new_zeros(()))
    held = found.clamp(images - radius, images + radius)
    return torch.where((held - images).abs() > radius, torch.nextafter(held, images), held)


def _within_l2(found: Tensor, images: Tensor, eps: float) -> Tensor:
    """Pulled back along the line to the clean image, a little further until rounding leaves it inside."""
    margin = 1e-6
    while (outside := (length := lengths(found - images, "L2")) > eps).any():
        factor = (eps * max(1 - margin, 0) / length).where(outside, torch.ones_like(length))
        found = torch.where(
            shaped(outside, found).bool(), images + shaped(factor, found) * (found - images), found
        )
        margin *= 4
    return found
