"""Seeds from named axes: every random draw of a run has a name, and the criterion is none of them.

Two runs of the same seed share their initialisation of the backbone, the order of the data
and the augmentation whatever their criterion, which is what makes a comparison paired. Draws
of an epoch come from generators seeded by (seed, axis, epoch), so a resumed run needs no
generator state to continue as if it had never stopped.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *axis: str | int) -> int:
    """A seed in [0, 2^63) for a named axis, e.g. `derive(0, "data order", epoch)`."""
    text = "/".join(str(part) for part in (seed, *axis))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *axis: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device`, seeded for a named axis."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *axis))


def seed_everything(seed: int, *axis: str | int) -> None:
    """Seed the global generators of python, NumPy and torch for a named axis (dropout draws there)."""
    import random

    import numpy

    value = derive(seed, *axis)
    random.seed(value)
    numpy.random.seed(value % 2**32)
    seed_torch(seed, *axis)


def seed_torch(seed: int, *axis: str | int) -> None:
    """Seed the global generators of torch alone for a named axis."""
    import torch

    value = derive(seed, *axis)
    if torch.accelerator.is_available():
        torch.manual_seed(value)
    else:  # the above would queue a call with its traceback for every kind of device, for ever
        torch.default_generator.manual_seed(value)
