"""How many CPU threads a run gets: all cores for large models, one for small ones.

The threads of a small model spend their time waiting for each other. On a quiet machine of two
cores that buys little; as soon as anything else runs there, a network that trains 2,500 images a
second on one thread falls to tens on two. The number follows from the run and the machine alone,
so a resumed run computes with as many threads as before, which its bits depend on.
"""

from __future__ import annotations

import os

import torch
from torch.utils.flop_counter import FlopCounterMode

from hugbench.models import Classifier, evaluating

SMALL_STEP = 2e9
"""Floating-point operations of a batch's forward pass below which one thread is enough."""

_ALL = torch.get_num_threads()


def set_threads(classifier: Classifier, shape: tuple[int, int, int], batch_size: int) -> None:
    """Set torch's CPU threads for a run; OMP_NUM_THREADS, where it is set, decides instead.

    Args:
        classifier: on the CPU.
        shape: (channels, height, width) of an image.
        batch_size: images of a training step.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    with torch.no_grad(), evaluating(classifier), FlopCounterMode(display=False) as counter:
        classifier(torch.zeros(1, *shape))
    torch.set_num_threads(1 if counter.get_total_flops() * batch_size < SMALL_STEP else _ALL)
