"""Types of plug-in arguments: an annotation that says which values are allowed.

The keyword-only signature of a criterion or an evaluation is its YAML schema. These names
carry the range with the type, so `hugbench validate` can refuse `alpha: -1` without importing
the loss.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
OpenFraction = Annotated[float, Ge(0), Lt(1)]
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]


class Frozen(BaseModel):
    """Base of every model of a suite: strict, closed, finite, immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
