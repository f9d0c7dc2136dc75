"""A comparison's lines by what they are of, as the parts of a report look them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hugbench.reporting.html.dots import Dot
from hugbench.reporting.html.elements import Table
from hugbench.reporting.html.svg import Look
from hugbench.reporting.sheets import Sheet, sheets
from hugbench.reporting.tables import is_fraction, mean_and_half_width
from hugbench.results.cells import Block, Quantity
from hugbench.results.contrasts import CompareReport, Contrast

Row = Mapping[str, Contrast]
"""One quantity of every criterion, by its label."""

Place = tuple[str, str, str, int | None]
"""Metric, condition, subset, severity."""


class Numbers:
    """The lines of a comparison.

    Attributes:
        report: the comparison.
        rows: every quantity in order, and its line of each criterion.
        blocks: the models that are compared with each other, in order.
        last: how many experiences each block's stream has; 0 outside one.
    """

    def __init__(self, report: CompareReport, last: Mapping[Block, int]) -> None:
        self.report = report
        self.rows: dict[Quantity, dict[str, Contrast]] = {}
        for line in report.contrasts:
            self.rows.setdefault(line.quantity, {})[line.criterion] = line
        self.blocks = tuple(dict.fromkeys(of.block for of in self.rows))
        self.last = {block: last.get(block, 0) for block in self.blocks}

    def evaluations(self, block: Block, name: str | None = None) -> list[str]:
        """Labels of the evaluations of this name (of all without one) in a block."""
        labels = dict.fromkeys(of.evaluation for of in self.rows if of.block == block)
        return [label for label in labels if name in (None, label.partition("(")[0])]

    def ended(self, block: Block, evaluation: str) -> dict[Place, Row]:
        """What an evaluation found at the end of a block's runs."""
        last = self.last[block]
        return {
            (of.metric, of.condition, of.subset, of.severity): row
            for of, row in self.rows.items()
            if (of.block, of.evaluation, of.epoch) == (block, evaluation, None)
            and (of.experience or 0) == last
        }

    def primary(self) -> list[Row]:
        """The rows that verdicts are on."""
        return [row for row in self.rows.values() if first(row).primary]

    def sheet(self, row: Row) -> Sheet:
        """The table of a quantity, as `hugbench compare` prints it."""
        return sheets(replace(self.report, contrasts=tuple(row.values()), ranking=None))[0]


def named(block: Block) -> str:
    """A block in words; of the axes' paths only the last part: `digits · test_resnet · standard · lr=0.1`."""
    axes = [axis.partition("=") for axis in block[3].split(", ") if axis]
    short = ", ".join(f"{path.rpartition('.')[2]}={value}" for path, _, value in axes)
    return " · ".join(part for part in (*block[:3], short) if part)


def first(row: Row) -> Contrast:
    """Any line of a row, for what they have in common."""
    return next(iter(row.values()))


def any_of(rows: Mapping[Any, Row]) -> Row:
    """Any row, for the criteria that all have in common."""
    return next(iter(rows.values()))


def scaled(metric: str) -> float:
    """By what a metric is multiplied to be shown."""
    return 100.0 if is_fraction(metric) else 1.0


def shown(line: Contrast) -> str:
    """Mean and half-width as the terminal writes them."""
    return mean_and_half_width(line.interval, scaled(line.quantity.metric))


def seeds_of(lines: Iterable[Contrast]) -> str:
    """`seeds 0, 1, 2`: all that any line has a value of."""
    seeds = sorted({seed for line in lines for seed in line.values})
    if not seeds:
        return "no seed with a number"
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def images_of(lines: Iterable[Contrast]) -> str:
    """`10,000 images`: the fewest behind any line."""
    count = min(line.images for line in lines)
    return f"{count:,} image{'' if count == 1 else 's'}"


def evidence(lines: Sequence[Contrast], level: float) -> str:
    """n, seeds, and what the intervals are."""
    several = any(line.interval is not None and line.interval.n > 1 for line in lines)
    told = f" Intervals: {100 * level:g} % Student t over seeds." if several else ""
    return f"{images_of(lines)}; {seeds_of(lines)}.{told}"


def dot(line: Contrast, look: Look) -> Dot:
    """A line as a row of a dot plot."""
    scale, found = scaled(line.quantity.metric), line.interval
    points = tuple(scale * value for value in line.values.values())
    hollow = line.own_reliability == "FAIL"
    if found is None:
        return Dot(line.criterion, look, None)
    told = f"{line.criterion}: {shown(line)}{', unreliable' if hollow else ''}"
    low, high = (None if end is None else scale * end for end in (found.low, found.high))
    return Dot(line.criterion, look, scale * found.mean, low, high, points, hollow, told)


def difference_dot(line: Contrast, look: Look) -> Dot:
    """A line's paired difference to the baseline as a row of a dot plot, with that of every seed."""
    scale, found = scaled(line.quantity.metric), line.difference
    if found is None or found.mean is None:
        return Dot(line.criterion, look, None)
    low, high = (None if end is None else scale * end for end in (found.low, found.high))
    points = tuple(scale * (line.values[seed] - line.reference_values[seed]) for seed in found.seeds)
    told = f"{line.criterion}: {scale * found.mean:+.2f}, {line.verdict}"
    hollow = line.verdict == "unreliable"
    return Dot(line.criterion, look, scale * found.mean, low, high, points, hollow, told)


def values_table(row: Row) -> Table:
    """Mean and half-width of every criterion, and the value of every seed."""
    seeds = sorted({seed for line in row.values() for seed in line.values})
    scale, fraction = scaled(first(row).quantity.metric), is_fraction(first(row).quantity.metric)
    rows = [
        [name, shown(line), *(_value(line.values.get(seed), scale, fraction) for seed in seeds)]
        for name, line in row.items()
    ]
    return Table(["criterion", "mean", *(f"seed {seed}" for seed in seeds)], rows)


def means_table(
    rows: Mapping[str, Row], criteria: Sequence[str], title: str = "", caption: str = ""
) -> Table:
    """Mean and half-width: a row for each criterion, a column for each quantity (in per cent if named so)."""
    cells = [
        [name, *(_mean(row.get(name), title) for title, row in rows.items())]
        for name in criteria
        if any(name in row for row in rows.values())
    ]
    return Table(["criterion", *rows], cells, caption=caption, title=title)


def _mean(line: Contrast | None, column: str) -> str:
    return mean_and_half_width(None if line is None else line.interval, 100 if column.endswith("%") else 1)


def _value(value: float | None, scale: float, fraction: bool) -> str:
    if value is None:
        return "-"
    return f"{scale * value:.2f}" if fraction else f"{value:.4g}"
