"""Every difference to a baseline, with what a reviewer would ask of it, and a verdict."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hugbench.results.batch import Values, mean_intervals, paired_differences
from hugbench.results.cells import RELIABILITY, Block, Cells, Quantity
from hugbench.results.comparison import direction
from hugbench.results.contrasts import BEFORE, LEVEL, Contrast, Family, Verdict, family_of
from hugbench.results.effects import equivalence_p, hedges_g, seeds_to_decide
from hugbench.results.multiplicity import holm, next_level
from hugbench.results.primary import primary_of
from hugbench.results.statistics import Interval, Paired

ALPHA = 1 - LEVEL

Delta = Callable[[str], float | None]
"""The difference in a metric that is as good as none; None where nobody said."""


@dataclass
class Members:
    """The criteria that have a line each in a block, in order, and the seeds that each should have."""

    labels: list[str] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)


@dataclass
class _Line:
    """A contrast in the making."""

    quantity: Quantity
    criterion: str
    against: str
    images: int
    values: Values
    reference: Values
    missing: tuple[int, ...]
    not_finite: tuple[int, ...]
    reliability: str | None
    own_reliability: str | None
    delta: float | None
    primary: bool = True
    mean: Interval | None = None
    reference_mean: Interval | None = None
    difference: Paired | None = None
    effect: float | None = None
    equivalence: float | None = None
    holm: float | None = None

    @property
    def is_baseline(self) -> bool:
        return self.criterion == self.against


def against_baseline(
    cells: Cells, baseline: str, members: Mapping[Block, Members], delta: Delta
) -> list[Contrast]:
    """Every criterion's number against the baseline's, quantity by quantity, the baseline among them.

    Args:
        cells: the records.
        baseline: its label.
        members: which criteria and seeds each block should have.
        delta: by metric.
    """
    lines = []
    for quantity in cells.cells:
        block = members.get(quantity.block, Members())
        lines += [
            _line(quantity, (label, baseline), (cells, cells), baseline, block.seeds, delta)
            for label in block.labels
        ]
    return _judged(lines)


def after_before(
    after: Cells, before: Cells, members: Mapping[Block, Members], delta: Delta
) -> list[Contrast]:
    """Every criterion's number after a change against its own before, as `against_baseline`."""
    lines = []
    for quantity in dict.fromkeys([*before.cells, *after.cells]):
        block = members.get(quantity.block, Members())
        lines += [
            _line(quantity, (label, label), (after, before), BEFORE, block.seeds, delta)
            for label in block.labels
        ]
    return _judged(lines)


def _line(
    quantity: Quantity,
    labels: tuple[str, str],
    cells: tuple[Cells, Cells],
    against: str,
    expected: set[int],
    delta: Delta,
) -> _Line:
    """What is known of a line before anything is computed; labels and records of both sides."""
    places = list(zip(cells, labels, strict=True))
    verdicts = [found for table, name in places if (found := table.reliability.get((quantity, name)))]
    return _Line(
        quantity,
        labels[0],
        against,
        min(table.images[quantity] for table in cells if quantity in table.images),
        cells[0].values(quantity, labels[0]),
        cells[1].values(quantity, labels[1]),
        cells[0].missing(quantity, labels[0], expected),
        cells[0].not_finite(quantity, labels[0]),
        max(verdicts, key=RELIABILITY.index, default=None),
        cells[0].reliability.get((quantity, labels[0])),
        None if labels[0] == against else delta(quantity.metric),
    )


def _judged(lines: Sequence[_Line]) -> list[Contrast]:
    primary = primary_of(dict.fromkeys(line.quantity for line in lines))
    means = _means([line.values for line in lines])
    references = _means([line.reference for line in lines])
    for line, mean, reference in zip(lines, means, references, strict=True):
        line.primary, line.mean, line.reference_mean = line.quantity in primary, mean, reference
    tested = [line for line in lines if not line.is_baseline and line.values and line.reference]
    differences = paired_differences([(line.values, line.reference) for line in tested], LEVEL)
    for line, difference in zip(tested, differences, strict=True):
        line.difference = difference
    _measure_effects(tested)
    levels = _correct(lines)
    return [_contrast(line, levels[family_of(line.quantity, line.primary)]) for line in lines]


def _means(groups: Sequence[Values]) -> list[Interval | None]:
    filled = [place for place, values in enumerate(groups) if values]
    found = dict(zip(filled, mean_intervals([list(groups[p].values()) for p in filled], LEVEL), strict=True))
    return [found.get(place) for place in range(len(groups))]


def _measure_effects(lines: Iterable[_Line]) -> None:
    """Effect size, and p of equivalence before any correction."""
    by_seeds: dict[int, list[tuple[_Line, float, float, float]]] = defaultdict(list)
    for line in lines:
        found = line.difference
        if found is not None and found.mean is not None and found.std:
            delta = math.nan if line.delta is None or line.reliability == "FAIL" else line.delta
            by_seeds[found.n].append((line, found.mean, found.std, delta))
    for n, rows in by_seeds.items():
        members, means, stds, deltas = zip(*rows, strict=True)
        sizes = zip(members, hedges_g(means, stds, n), equivalence_p(means, stds, n, deltas), strict=True)
        for line, effect, p in sizes:
            line.effect, line.equivalence = _number(effect), _number(p)


def _correct(lines: Iterable[_Line]) -> dict[Family, float]:
    """Holm's correction over each family.

    Returns:
        The level that the next difference of each family would have to reach.
    """
    families: dict[Family, list[_Line]] = defaultdict(list)
    for line in lines:
        families[family_of(line.quantity, line.primary)].append(line)
    levels = {}
    for family, members in families.items():
        differ = holm([_testable_p(line) for line in members])
        equal = holm([line.equivalence for line in members])
        for line, of_difference, of_equivalence in zip(members, differ, equal, strict=True):
            line.holm, line.equivalence = of_difference, of_equivalence
        levels[family] = next_level(differ, ALPHA)
    return levels


def _testable_p(line: _Line) -> float | None:
    """p of the difference, if it could have reached 5 % and is no difference of unreliable figures."""
    found = line.difference
    if found is None or found.p_value is None or line.reliability == "FAIL":
        return None
    return found.p_value if found.can_reach(ALPHA) else None


def _verdict(line: _Line) -> Verdict:
    found = line.difference
    if not line.values:
        return "no result"
    if line.is_baseline:
        return "baseline"
    if found is None or found.mean is None:
        return "not testable" if line.reference else "no baseline"
    if line.reliability == "FAIL":
        return "unreliable"
    if found.n > 1 and found.mean == found.std == 0:
        return "identical"
    if line.holm is not None and line.holm <= ALPHA:
        better = direction(line.quantity.metric)
        if better == "neutral":
            return "differs"
        return "better" if (found.mean > 0) == (better == "higher") else "worse"
    if line.equivalence is not None and line.equivalence <= ALPHA:
        return "equal"
    return "not testable" if line.holm is None else "undecided"


def _contrast(line: _Line, level: float) -> Contrast:
    """The line with its verdict, and how many seeds would decide it at the level of Holm's next step."""
    verdict, needed, found = _verdict(line), None, line.difference
    if (
        verdict in ("undecided", "not testable")
        and found is not None
        and found.mean is not None
        and found.std
    ):
        needed = seeds_to_decide(found.mean / found.std, level, found.n) or math.inf
    return Contrast(
        quantity=line.quantity,
        criterion=line.criterion,
        against=line.against,
        primary=line.primary,
        images=line.images,
        values=line.values,
        reference_values=line.reference,
        interval=line.mean,
        reference=line.reference_mean,
        difference=found,
        verdict=verdict,
        missing=line.missing,
        not_finite=line.not_finite,
        reliability=line.reliability,
        own_reliability=line.own_reliability,
        holm=line.holm,
        effect=line.effect,
        delta=line.delta,
        equivalence=line.equivalence,
        seeds_needed=needed,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
