"""Which images an epoch goes through, where it is not every image once."""

from __future__ import annotations

import torch
from torch import Tensor


def class_balanced(targets: Tensor, draw: torch.Generator) -> Tensor:
    """As many draws as there are images, with replacement: a class that has images, then one of these.

    Every class is equally likely, and within a class every image.

    Args:
        targets: labels int64 (N,), N at least 1.
        draw: on the CPU.

    Returns:
        Indices int64 (N,).

    Source:
        Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
        arXiv 1910.09217, section 3, equation 1 with q = 0.
    """
    by_class = torch.argsort(targets, stable=True)
    sizes = torch.bincount(targets)
    starts = sizes.cumsum(0) - sizes
    present = sizes.nonzero().flatten()
    chosen = present[torch.randint(len(present), (len(targets),), generator=draw)]
    # 62 random bits modulo a class's size: off from uniform by less than size / 2^62.
    within = torch.randint(1 << 62, (len(targets),), generator=draw) % sizes[chosen]
    return by_class[starts[chosen] + within]
