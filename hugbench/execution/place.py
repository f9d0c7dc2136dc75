"""Where runs find their data, leave their results and compute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Place:
    """The data folder, the results folder and the device."""

    data: Path
    results: Path
    device: torch.device
