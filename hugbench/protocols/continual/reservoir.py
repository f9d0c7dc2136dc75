"""Experience replay from a reservoir that is filled while training goes on."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.training import supervised
from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from hugbench.protocols.continual.base import Strategy
from hugbench.types import PositiveInt


class ReplayReservoir(Strategy):
    """Add images from a memory to every batch; each new image has its chance to enter, in every epoch.

    The memory is a uniform choice of all images presented so far (Vitter's reservoir), so classes
    with many images have many in it.

    Args:
        memory: images in memory.
        memory_batch: images of a batch that come from memory; null: as many as new ones.

    Source:
        Riemer et al., Learning to Learn without Forgetting, ICLR 2019, arXiv 1810.11910, algorithm
        ER; as `er` in the code of Buzzega et al., Dark Experience for General Continual Learning,
        NeurIPS 2020, arXiv 2004.07211 (Mammoth).
    """

    def __init__(self, *, memory: PositiveInt = 200, memory_batch: PositiveInt | None = None) -> None:
        self.size, self.batch = memory, memory_batch

    def build(self) -> SupervisedTemplate:
        labels = torch.tensor(list(self.parts.data.targets))
        self.memory = Reservoir(self.size, labels, self.memory_batch(self.batch))
        return supervised.Naive(**self.common(self.memory))

    def current(self) -> dict[str, Any]:
        return self.memory.stored()

    def restore_current(self, state: dict[str, Any]) -> None:
        self.memory.restore(state)

    def start_epoch(self, draw: torch.Generator) -> None:
        self.memory.draw = draw


class Reservoir(SupervisedPlugin):  # type: ignore[misc]
    """The memory, and what puts it into batches.

    Args:
        size: of the memory.
        labels: of all rows, int64 (N,).
        batch_size: images taken from memory at a time, without repetition.

    Attributes:
        rows: in memory, int64 (at most `size`,).
        presented: how many images have had their chance.
        draw: where both choices come from.
    """

    def __init__(self, size: int, labels: Tensor, batch_size: int) -> None:
        super().__init__()
        self.size, self.labels, self.batch_size = size, labels, batch_size
        self.rows = torch.empty(0, dtype=torch.int64)
        self.presented = 0
        self.draw = torch.Generator()

    def before_forward(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Put images from memory behind the new ones."""
        self.new = strategy.mbatch[0]
        if len(self.rows):
            chosen = torch.randperm(len(self.rows), generator=self.draw)[: self.batch_size]
            rows = self.rows[chosen]
            more = rows, self.labels[rows], torch.zeros_like(rows)
            strategy.mbatch = [
                torch.cat([new, old.to(new.device)]) for new, old in zip(strategy.mbatch, more, strict=True)
            ]

    def after_update(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Give each new image its chance."""
        self.take(self.new.cpu())

    def take(self, rows: Tensor) -> None:
        """Present rows (B,), one after the other."""
        free = rows[: max(self.size - len(self.rows), 0)]
        if len(free):
            self.rows = torch.cat([self.rows, free])
            self.presented += len(free)
        late = rows[len(free) :]
        if len(late):
            chances = torch.rand(len(late), generator=self.draw, dtype=torch.float64)
            places = (chances * torch.arange(self.presented + 1, self.presented + len(late) + 1)).long()
            for place, row in zip(places.tolist(), late.tolist(), strict=True):
                if place < self.size:
                    self.rows[place] = row
            self.presented += len(late)

    def stored(self) -> dict[str, Any]:
        """Rows and counter."""
        return {"rows": self.rows.clone(), "presented": self.presented}

    def restore(self, state: dict[str, Any]) -> None:
        """Hold what `stored` gave."""
        self.rows, self.presented = state["rows"].clone(), state["presented"]
