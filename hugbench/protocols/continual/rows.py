"""The training images as Avalanche's data: rows of the training set, never pixels.

A mini-batch is three int64 tensors: rows, labels and task labels (all 0). Memories, loaders and
penalties of Avalanche work on it as on images; the model looks the images up (`model.RowModel`).
So a sample costs a tuple instead of a walk through nested data sets, memories hold numbers, and what
a stream stores holds no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.scenarios import DatasetExperience
from avalanche.benchmarks.utils.classification_dataset import TaskAwareSupervisedClassificationDataset
from avalanche.benchmarks.utils.data_attribute import DataAttribute, TaskLabels
from avalanche.benchmarks.utils.flat_data import ConstantSequence, FlatData, LazyIndices
from torch import Tensor


class _Leaf:
    """Row i and its label, for every i."""

    def __init__(self, labels: list[int]) -> None:
        self.targets = labels

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[int, int]:
        return row, self.targets[row]


class Rows(TaskAwareSupervisedClassificationDataset):  # type: ignore[misc]
    """Some rows of the training set, as a data set of Avalanche.

    Subsets and concatenations of it are `Rows`, too, whoever makes them.
    """

    def rows(self) -> list[int]:
        """The rows, in order."""
        if "_rows" not in self.__dict__:
            self._rows: list[int] = _resolve(self._flat_data)
            leaves = self._flat_data._datasets
            self._labels: list[int] = leaves[0].targets if leaves else []
        return self._rows

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return self.__getitems__([int(index)])[0]
        return super().__getitem__(index)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, ...]]:
        """Samples as tuples: row, label, task label 0, and logits where there are any."""
        rows = self.rows()
        labels = self._labels
        chosen = [rows[index] for index in indices]
        if (logits := self._data_attributes.get("logits")) is not None:
            return [(row, labels[row], 0, logits[i]) for row, i in zip(chosen, indices, strict=True)]
        return [(row, labels[row], 0) for row in chosen]

    def columns(self) -> list[Tensor]:
        """All samples as tensors: rows, labels and task labels, int64 (N,), and logits (N, C) if any."""
        if "_columns" not in self.__dict__:
            rows = self.rows()
            columns = rows, [self._labels[row] for row in rows], [0] * len(rows)
            self._columns = [torch.tensor(column, dtype=torch.int64) for column in columns]
            if (logits := self._data_attributes.get("logits")) is not None:
                self._columns.append(torch.stack(list(logits)))
        return self._columns

    def with_logits(self, logits: Sequence[Tensor]) -> Rows:
        """The same rows with a tensor for each, which subsets take along."""
        kept = FlatData([list(logits)], discard_elements_not_in_indices=True)
        return Rows([self], data_attributes=[DataAttribute(kept, "logits", use_in_getitem=True)])


def whole(targets: Tensor) -> Rows:
    """All rows of a training set with labels `targets`, int64 (N,)."""
    labels = targets.tolist()
    attributes = [DataAttribute(labels, "targets"), TaskLabels(ConstantSequence(0, len(labels)))]
    return Rows([_Leaf(labels)], data_attributes=attributes)


def experiences(data: Rows, parts: Sequence[Sequence[int]]) -> list[DatasetExperience]:
    """The training stream of an Avalanche benchmark whose experiences are the rows in `parts`."""
    benchmark = with_classes_timeline(
        benchmark_from_datasets(train=[data.subset(list(rows)) for rows in parts])
    )
    return list(benchmark.streams["train"])


def _resolve(flat: FlatData[Any]) -> list[int]:
    """The rows that a nest of subsets and concatenations of one `_Leaf` comes down to."""
    leaves = flat._datasets
    if any(leaf is not leaves[0] for leaf in leaves):
        raise TypeError("rows of different training sets in one data set")
    if len(leaves) == 1 and flat._indices is None:
        return list(range(len(flat)))
    if len(leaves) == 1 and not isinstance(flat._indices, LazyIndices):
        return [int(row) for row in flat._indices]
    return [flat._get_idx(index)[1] for index in range(len(flat))]
