"""`--device auto|cpu|cuda[:N]|mps` as a torch device that is really there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hugbench.errors import UserError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The device; `auto` is the first GPU, else Apple's, else the CPU.

    Raises:
        UserError: no such device, or it is not there.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UserError(
            "unknown device", where="--device", found=name, expected="auto, cpu, cuda, cuda:N or mps"
        )
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if gpus else "mps" if mps else "cpu")
    device = torch.device(name)
    there = {"cpu": True, "mps": mps, "cuda": (device.index or 0) < gpus}[device.type]
    if not there:
        listed = ["cpu", *(f"cuda:{index}" for index in range(gpus)), *(["mps"] if mps else [])]
        raise UserError(
            "this device is not there", where="--device", found=name, expected=f"one of: {', '.join(listed)}"
        )
    return device
