"""What tells weights, and splits of a data set, from others: scratch of something else means nothing."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from hugbench.data.images import Images


def weights_sha256(module: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of a module's state, wherever it is."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        held = value.detach().cpu().contiguous()
        total.update(f"{name} {held.dtype} {tuple(held.shape)}\n".encode())
        total.update(held.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def split_sha256(images: Images) -> str:
    """What tells a split from others of the same data: which of its images it holds, and their labels."""
    total = hashlib.sha256(images.rows.numpy().tobytes())
    total.update(images.targets.numpy().tobytes())
    return total.hexdigest()
