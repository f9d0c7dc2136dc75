"""Where runs find their data, leave their results and compute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from hugbench.training.ranks import Ranks


@dataclass(frozen=True)
class Place:
    """The data folder, the results folder, the device, and the processes that train every run together.

    Without `ranks` a run has a process to itself.
    """

    data: Path
    results: Path
    device: torch.device
    ranks: Ranks | None = None

    def shared(self, ranks: Ranks) -> Place:
        """The same place for runs that all `ranks` train together, on this one's device."""
        return replace(self, device=ranks.device or self.device, ranks=ranks)


def names_in(data: Path) -> tuple[str, ...] | None:
    """The names in a data folder but for hidden ones, by which it is known elsewhere; None without one."""
    if not data.is_dir():
        return None
    return tuple(sorted(path.name for path in data.iterdir() if not path.name.startswith(".")))
