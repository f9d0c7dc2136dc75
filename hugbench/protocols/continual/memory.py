"""Avalanche's class-balanced memories, with a plain state: rows, sampling weights and perhaps logits."""

from __future__ import annotations

from typing import Any

import torch
from avalanche.training.storage_policy import ClassBalancedBuffer, ReservoirSamplingBuffer
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor

from hugbench.protocols.continual.base import Sorted
from hugbench.protocols.continual.rows import Rows


class ClassMemory(ClassBalancedBuffer):  # type: ignore[misc]
    """A memory that is shared out among the classes seen, each part a reservoir.

    Classes with lower labels get what does not divide evenly. A class with fewer images than its
    share leaves room that no other class takes.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, adaptive_size=True)
        self.seen_classes: Sorted[int] = Sorted()

    def update(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Take in the strategy's current experience."""
        self.update_from_dataset(strategy.experience.dataset, strategy)

    def update_from_dataset(self, new: Rows, strategy: SupervisedTemplate | None = None) -> None:
        """Take in `new`: as Avalanche does, with the images of a class found at once."""
        labels = new.columns()[1]
        present = torch.unique(labels).tolist()
        self.seen_classes.update(present)
        shares = dict(zip(self.seen_classes, self.get_group_lengths(len(self.seen_classes)), strict=True))
        for label in present:
            part = self.buffer_groups.setdefault(label, ReservoirSamplingBuffer(shares[label]))
            part.update_from_dataset(new.subset((labels == label).nonzero().flatten().tolist()))
        for label, part in self.buffer_groups.items():
            part.resize(strategy, shares[label])

    def rows(self) -> list[int]:
        """The rows in memory, class by class."""
        return [row for part in self.buffer_groups.values() for row in _rows(part)]

    def stored(self) -> dict[str, Any]:
        """Rows and weights of each class, in the order in which classes came."""
        return {
            "seen": sorted(self.seen_classes),
            "classes": list(self.buffer_groups),
            "parts": [_stored(part) for part in self.buffer_groups.values()],
        }

    def restore(self, state: dict[str, Any], data: Rows) -> None:
        """Hold what `stored` gave, out of all rows `data`."""
        self.seen_classes = Sorted(state["seen"])
        self.buffer_groups = {
            label: _restored(part, data) for label, part in zip(state["classes"], state["parts"], strict=True)
        }


class LogitMemory(ClassMemory):
    """A class-balanced memory that keeps the model's logits with every image.

    They are those of the image without augmentation, once its experience is learnt.
    """

    def update(self, strategy: SupervisedTemplate, **_: Any) -> None:
        """Take in the strategy's current experience, with the logits of its model."""
        data: Rows = strategy.experience.dataset
        logits = _logits(strategy, torch.tensor(data.rows()))
        self.update_from_dataset(data.with_logits(list(logits)), strategy)


def _rows(part: ReservoirSamplingBuffer) -> list[int]:
    return part.buffer.rows() if isinstance(part.buffer, Rows) else []


def _stored(part: ReservoirSamplingBuffer) -> dict[str, Any]:
    state = {"size": part.max_size, "rows": _rows(part), "weights": part._buffer_weights.clone()}
    if state["rows"] and "logits" in part.buffer._data_attributes:
        state["logits"] = torch.stack(list(part.buffer._data_attributes["logits"]))
    return state


def _restored(state: dict[str, Any], data: Rows) -> ReservoirSamplingBuffer:
    part = ReservoirSamplingBuffer(state["size"])
    chosen = data.subset(state["rows"])
    part.buffer = chosen.with_logits(list(state["logits"])) if "logits" in state else chosen
    part._buffer_weights = state["weights"]
    return part


@torch.no_grad()
def _logits(strategy: SupervisedTemplate, rows: Tensor) -> Tensor:
    """Logits of rows (N,), (N, num_classes) on the CPU, in evaluation mode."""
    strategy.model.eval()
    batches = torch.split(rows.to(strategy.device), strategy.eval_mb_size)
    logits = torch.cat([strategy.model(batch).cpu() for batch in batches])
    strategy.model.train()
    return logits
