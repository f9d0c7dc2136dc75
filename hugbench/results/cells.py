"""Records sorted by what they are of: quantity, criterion and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, NamedTuple

RELIABILITY = ("PASS", "WARN", "FAIL")
"""Verdicts of a figure's own checks, from good to bad. What FAILs is called unreliable, and not judged."""

Block = tuple[str, str, str, str]
"""(dataset, backbone, protocol, variant): the models that are compared with each other."""


class Quantity(NamedTuple):
    """What a number is of, and where it was measured: all of a record but criterion, seed and value."""

    dataset: str
    backbone: str
    protocol: str
    variant: str
    evaluation: str
    metric: str
    condition: str
    severity: int | None
    experience: int | None
    epoch: int | None
    subset: str

    @property
    def block(self) -> Block:
        """(dataset, backbone, protocol, variant): the models that are compared with each other."""
        return self[:4]


_quantity = itemgetter(*Quantity._fields)


class Cells:
    """The records by quantity, criterion and seed.

    Attributes:
        cells: value by seed, by criterion, by quantity; None for what is no finite number.
        images: number of images behind each quantity (the fewest, where they differ).
        criteria: every label, in the order of the records.
        seen: the labels with any record, by block.
        seeds: the seeds with any record, by block.
        reliability: the worst verdict of a figure's own checks.
        clashes: sentences on numbers that claim one place; neither is taken.
    """

    def __init__(self) -> None:
        self.cells: dict[Quantity, dict[str, dict[int, float | None]]] = {}
        self.images: dict[Quantity, int] = {}
        self.criteria: dict[str, None] = {}
        self.seen: dict[Block, dict[str, None]] = {}
        self.seeds: dict[Block, set[int]] = {}
        self.reliability: dict[tuple[Quantity, str], str] = {}
        self.clashes: dict[str, None] = {}
        self._clashing: set[tuple[Quantity, str, int]] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Put a record where it belongs."""
        quantity = Quantity._make(_quantity(row))
        block = quantity.block
        criterion, seed, value = row["criterion"], row["seed"], _finite(row["value"])
        self.criteria[criterion] = None
        self.seen.setdefault(block, {})[criterion] = None
        self.seeds.setdefault(block, set()).add(seed)
        self.images[quantity] = min(row["n"], self.images.get(quantity, row["n"]))
        cell = self.cells.setdefault(quantity, {}).setdefault(criterion, {})
        if verdict := row.get("reliability"):
            worst = max(verdict, self.reliability.get((quantity, criterion), verdict), key=RELIABILITY.index)
            self.reliability[quantity, criterion] = worst
        place = quantity, criterion, seed
        if place in self._clashing or (seed in cell and cell[seed] != value):
            self._clash(place)
            cell.pop(seed, None)
        else:
            cell[seed] = value

    def values(self, quantity: Quantity, criterion: str) -> dict[int, float]:
        """The finite values by seed, ascending."""
        cell = self.cells.get(quantity, {}).get(criterion, {})
        return {seed: value for seed, value in sorted(cell.items()) if value is not None}

    def not_finite(self, quantity: Quantity, criterion: str) -> tuple[int, ...]:
        """The seeds whose value is no finite number, ascending."""
        cell = self.cells.get(quantity, {}).get(criterion, {})
        return tuple(sorted(seed for seed, value in cell.items() if value is None))

    def missing(self, quantity: Quantity, criterion: str, expected: set[int]) -> tuple[int, ...]:
        """The expected seeds without a record, ascending."""
        return tuple(sorted(expected - self.cells.get(quantity, {}).get(criterion, {}).keys()))

    def _clash(self, place: tuple[Quantity, str, int]) -> None:
        """Two numbers claim one place: neither is taken, and the reader is told."""
        quantity, criterion, _ = place
        self._clashing.add(place)
        self.clashes[
            f"{criterion}, {named(quantity.block)}, {quantity.evaluation}: several values for the same "
            "metric and seed, which the records cannot tell apart; they are left out"
        ] = None


def named(block: Block) -> str:
    """A block in words."""
    return ", ".join(part for part in block if part)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
