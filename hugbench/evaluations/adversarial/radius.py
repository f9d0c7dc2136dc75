"""Radii that make sense for a norm. Without torch, for validation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hugbench.errors import UserError
from hugbench.evaluations.adversarial.catalogue import NORMS, Norm
from hugbench.types import eps_value

GREY = 0.5
"""From this Linf radius on every image can be made uniformly grey, whatever it shows."""

PIXEL_LIKE = 16 / 255
"""An L2 radius over 255 and below this is taken for a change of every pixel, which it is not."""


def check_eps(
    norm: Norm, eps: Sequence[str], *, shape: tuple[int, int, int] | None = None, key: str | None = None
) -> tuple[float, ...]:
    """The numbers of some radii, for images in [0, 1].

    Linf radii are below 0.5, or exactly 1 (the whole box); L2 radii are at most the diameter of the
    box, the square root of the number of its values.

    Args:
        norm: Linf or L2.
        eps: as they were written, such as 8/255.
        shape: channels, height and width, where they are known.
        key: where they stand in the suite, for the errors.

    Raises:
        UserError: none, one twice, or one that makes no sense for the norm.
    """
    if norm not in NORMS:
        raise UserError("unknown norm", key=key, found=norm, expected="Linf or L2")
    if not eps:
        raise UserError("no radius", key=key, expected="at least one, such as 8/255")
    check = _linf if norm == "Linf" else _l2
    found: dict[float, str] = {}
    for text in eps:
        value = check(text, shape, key)
        if value in found:
            raise UserError("the same radius twice", key=key, found=f"{found[value]} and {text}")
        found[value] = text
    return tuple(found)


def _linf(text: str, shape: tuple[int, int, int] | None, key: str | None) -> float:
    value = _positive(text, key)
    if value > 1:
        hint = f"; {text}/255 is in units of 1/255" if value <= 255 else ""
        raise UserError(
            "an Linf radius above 1 does not exist for images in [0, 1]",
            key=key,
            found=text,
            expected=f"a radius such as 8/255{hint}",
        )
    if GREY <= value < 1:
        raise UserError(
            "with an Linf radius of 0.5 or more every image can be turned into the same grey, so this "
            "is an L2 radius or a mistake",
            key=key,
            found=text,
            expected="a radius below 0.5 such as 8/255, or norm: L2",
        )
    return value


def _l2(text: str, shape: tuple[int, int, int] | None, key: str | None) -> float:
    value = _positive(text, key)
    if text.endswith("/255") and value < PIXEL_LIKE:
        raise UserError(
            f"{text} is an Linf radius: in L2 it is one value moved by {text} and all others left alone",
            key=key,
            found=text,
            expected="a radius such as 0.5, or norm: Linf",
        )
    if shape is not None and value > (diameter := math.sqrt(math.prod(shape))):
        raise UserError(
            f"no two images of {' x '.join(map(str, shape))} are further apart than {diameter:.6g} in L2",
            key=key,
            found=text,
            expected="a radius such as 0.5",
        )
    return value


def _positive(text: str, key: str | None) -> float:
    try:
        value = eps_value(text)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError("is no radius", key=key, found=text, expected="a positive number such as 8/255")
    return value
