"""Two models on the same images: are their mistakes more one's than the other's?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

EXACT_BELOW = 25
"""Images that only one model has right, below which the binomial test is exact; from there on mid-p."""


@dataclass(frozen=True)
class McNemar:
    """A test of two models on the same images; it says nothing of other seeds.

    Attributes:
        first: images that only the first has right.
        second: images that only the second has right.
        p_value: two-sided.
        test: which of the two forms.
    """

    first: int
    second: int
    p_value: float
    test: Literal["McNemar, exact", "McNemar, mid-p"]


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's test: of the images that one model alone has right, does each have half?

    Below 25 such images the exact binomial test; from there on its mid-p form, which counts half of what
    was observed: close to the nominal level where the exact one is too cautious.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions,
    Psychometrika 12 (1947); Fagerland, Lydersen, Laake, The McNemar test for binary matched-pairs data,
    BMC Med. Res. Methodol. 13:91 (2013).

    Args:
        first, second: whether each image is right, (N,), in the same order.
    """
    from scipy.special import bdtr

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    alone, other = int((first & ~second).sum()), int((second & ~first).sum())
    total, fewer = alone + other, min(alone, other)
    below = float(bdtr(fewer, total, 0.5)) if total else 1.0
    if total < EXACT_BELOW:
        return McNemar(alone, other, min(1.0, 2 * below), "McNemar, exact")
    here = below - (float(bdtr(fewer - 1, total, 0.5)) if fewer else 0.0)
    return McNemar(alone, other, min(1.0, 2 * below - here), "McNemar, mid-p")
