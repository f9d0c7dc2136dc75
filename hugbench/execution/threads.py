"""How many CPU threads a run gets: one for small models, at most four for large ones.

The threads of a small model spend their time waiting for each other. On a quiet machine of two
cores that buys little; as soon as anything else runs there, a network that trains 2,500 images a
second on one thread falls to tens on two. Beyond four threads a large one gains little, and the cores
serve another run better. The number follows from the run and the machine alone, so that a run computes
with as many threads wherever and whenever it goes on, which its bits depend on.
"""

from __future__ import annotations

import os

import torch
from torch.utils.flop_counter import FlopCounterMode

from hugbench.models import Classifier, evaluating

SMALL_STEP = 2e9
"""Floating-point operations of a batch's forward pass below which one thread is enough."""

MOST = 4
"""Threads of a large model, where there are as many cores."""

_ALL = torch.get_num_threads()


def threads_for(classifier: Classifier, shape: tuple[int, int, int], batch_size: int) -> int:
    """The CPU threads that a run gets; OMP_NUM_THREADS, where it is set, decides instead.

    Args:
        classifier: on the CPU.
        shape: (channels, height, width) of an image.
        batch_size: images of a training step.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return _ALL
    with torch.no_grad(), evaluating(classifier), FlopCounterMode(display=False) as counter:
        classifier(torch.zeros(1, *shape))
    return 1 if counter.get_total_flops() * batch_size < SMALL_STEP else min(_ALL, MOST)
