"""The k-th nearest training feature on the sphere, in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.criteria.sphere import normalise

BLOCK = 16384
"""How many training features at a time."""


@dataclass(frozen=True)
class Neighbours:
    """Training features of length 1, (N, d), and which neighbour counts."""

    directions: Tensor
    k: int

    def scores(self, features: Tensor) -> Tensor:
        """Minus the chord from x/‖x‖ to its k-th nearest training feature, float32 (B,), at most 0.

        The chord is √(2 − 2 cos); cosines are rounded to about 1e-7, so chords under 1e-3 are not told apart
        well. With fewer than k training features the farthest counts.

        Args:
            features: (B, d), on the device of the training features.

        Source:
            Sun, Ming, Zhu, Li, Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022,
            arXiv 2204.06507, section 3.
        """
        queries = normalise(features)
        k = min(self.k, len(self.directions))
        nearest = queries.new_empty(len(queries), 0)
        for block in torch.split(self.directions, BLOCK):
            candidates = torch.cat([nearest, queries @ block.T], dim=1)
            nearest = candidates.topk(min(k, candidates.shape[1]), dim=1).values
        return -(2 - 2 * nearest[:, k - 1]).clamp(min=0).sqrt()
