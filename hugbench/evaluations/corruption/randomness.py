"""Random numbers of a batch of images that depend on nothing but each image's own key.

A counter is hashed with a key of (seed, corruption, severity, image index), in 64-bit integers, which
every device multiplies and shifts alike. So an image is corrupted in the same way whatever the batch,
the order and the number of devices, and nothing has to be drawn before it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from hugbench.seeding import derive

WEYL = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 over the golden ratio, odd
FIRST, SECOND = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
LEVELS = 1 << 16


class Draws:
    """The randomness of a batch: every call gives fresh numbers.

    Image i's numbers depend on `(seed, kind, severity, indices[i])` and on the calls made before, bit for
    bit, on every device.

    Args:
        seed: any integer.
        kind: the corruption.
        severity: its severity.
        indices: int64 (B,), which image of its data set each is; at least 0.
        device: where the numbers are wanted; that of `indices` if not given.

    Source:
        The mixing is that of Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators,
        OOPSLA 2014, with the multipliers of Stafford's variant 13, and a second key between its rounds,
        without which two images would walk along the same sequence from different places.
    """

    def __init__(
        self, seed: int, kind: str, severity: int, indices: Tensor, device: torch.device | None = None
    ) -> None:
        key = derive(seed, "corruption", kind, severity)
        counters = indices.to(device or indices.device, torch.int64).unsqueeze(1)
        self._first = _mixed(counters * WEYL + key, 0)
        self._second = _mixed(self._first + key, 0)
        self._used = 0

    def words(self, *shape: int) -> Tensor:
        """32 random bits each, int32 (B, *shape)."""
        count = math.prod(shape)
        pairs = (count + 1) // 2
        counters = torch.arange(self._used + 1, self._used + 1 + pairs, device=self._first.device)
        self._used += pairs
        words = _mixed((counters * WEYL).add(self._first), self._second).view(torch.int32)
        return words[:, :count].reshape(len(words), *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Multiples of 2^-24 in [0, 1), float32 (B, *shape)."""
        return self.words(*shape).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24)

    def integers(self, high: int, *shape: int) -> Tensor:
        """From 0 to high − 1 (high up to 2^31), int64 (B, *shape); no value is likelier by over 2^-32."""
        wide = self.words(*shape).to(torch.int64).add_(1 << 31)
        return wide.mul_(high).bitwise_right_shift_(32)

    def normal(self, *shape: int) -> Tensor:
        """Of mean 0 and variance 1, float32 (B, *shape), at most 5.9 in size.

        Each is the sum of two of the 65,536 midway quantiles, over √2: looked up, where logarithms and
        cosines would differ between devices.
        """
        count = math.prod(shape)
        words = self.words(count)
        halves = words.view(torch.int16).to(torch.int32).add_(LEVELS // 2)
        parts = _quantiles(words.device).index_select(0, halves.flatten()).view(len(words), 2, count)
        return parts[:, 0].add(parts[:, 1]).view(len(words), *shape)


def _mixed(words: Tensor, key: Tensor | int) -> Tensor:
    """Every bit of a 64-bit word spread over all, in place, with `key` added halfway."""
    for shift, factor in ((30, FIRST), (27, SECOND)):
        words ^= words.bitwise_right_shift(shift).bitwise_and_((1 << (64 - shift)) - 1)
        words *= factor
        if factor == FIRST:
            words += key
    return torch.bitwise_xor(words, words.bitwise_right_shift(31).bitwise_and_((1 << 33) - 1), out=words)


@lru_cache(maxsize=8)
def _quantiles(device: torch.device) -> Tensor:
    """The normal quantiles of (i + ½)/65536, scaled to variance ½."""
    levels = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    quantiles = torch.special.ndtri(levels)
    return (quantiles / (2 * quantiles.square().mean()).sqrt()).float().to(device)
