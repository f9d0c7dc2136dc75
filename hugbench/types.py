"""Types of plug-in arguments: an annotation that says which values are allowed.

The keyword-only signature of a criterion or an evaluation is its YAML schema. These names
carry the range with the type, so `hugbench validate` can refuse `alpha: -1` without importing
the loss.
"""

from __future__ import annotations

from fractions import Fraction as _Ratio
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
OpenFraction = Annotated[float, Ge(0), Lt(1)]
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
Severity = Annotated[int, Ge(1), Le(5)]
Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]
"""The 15 corruptions of CIFAR-C and ImageNet-C in their order, then the 4 extra ones."""


def _eps(given: Any) -> str:
    """A radius as its writer wrote it: `8/255` stays `8/255`, 0.5 becomes `0.5`."""
    text = f"{given:.12g}" if isinstance(given, int | float) and not isinstance(given, bool) else given
    if not isinstance(text, str):
        raise ValueError(f"expected a positive number or a fraction such as 8/255, found {given!r}")
    compact = "".join(text.split())
    try:
        value = eps_value(compact)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected a positive number or a fraction such as 8/255, found {given!r}") from None
    if value <= 0:
        raise ValueError(f"expected a radius above 0, found {given!r}")
    return compact


def eps_value(text: str) -> float:
    """The number of a radius: 8/255 of `8/255`, 0.5/255 of `0.5/255`, 0.5 of `0.5`.

    Raises:
        ValueError, ZeroDivisionError: it is none.
    """
    over, slash, under = text.partition("/")
    if "/" in under:
        raise ValueError(f"expected a number or one fraction, found {text!r}")
    return float(_Ratio(over) / _Ratio(under if slash else "1"))


Eps = Annotated[
    str,
    BeforeValidator(_eps),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
"""A radius, kept as it was written (`eps_value` gives the number): a number, or a fraction such as 8/255."""


class Frozen(BaseModel):
    """Base of every model of a suite: strict, closed, finite, immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
