"""A comparison as plain tables of text, which every format prints in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from hugbench.reporting.tables import is_fraction
from hugbench.results.contrasts import CompareReport, Contrast, Verdict, held_out
from hugbench.results.effects import FEW
from hugbench.results.ranks import Ranking
from hugbench.results.statistics import Interval

LONGEST_HEADER = 16
"""A column of means has its metric's name up to this length; the title always has it."""


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        title: what it is of.
        columns: headers; the first column is text, as is the last.
        rows: one cell a column.
        caption: n, seeds, and what limits the reading.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


def sheets(report: CompareReport) -> list[Sheet]:
    """A table for every number: one row a criterion; then the ranking, where there is one."""
    groups: dict[object, list[Contrast]] = {}
    for line in report.contrasts:
        groups.setdefault(line.quantity, []).append(line)
    tables = [_sheet(report, lines) for lines in groups.values()]
    return tables if report.ranking is None else [*tables, _rank_sheet(report.ranking)]


def verdicts(report: CompareReport) -> list[str]:
    """One sentence a number: which criteria are better, worse, equal, undecided, ..."""
    told: dict[str, dict[str, list[str]]] = {}
    for line in report.contrasts:
        if line.verdict != "baseline":
            groups = told.setdefault(title(line), {})
            groups.setdefault(line.verdict, []).append(line.criterion)
    return [
        f"{name}: "
        + "; ".join(f"{kind} {', '.join(groups[kind])}" for kind in get_args(Verdict) if kind in groups)
        for name, groups in told.items()
    ]


def sentence(line: Contrast) -> str:
    """The verdict on a line in words and numbers."""
    fraction, found = is_fraction(line.quantity.metric), line.difference
    head = f"{line.criterion}, {line.quantity.metric}: {verdict_text(line)}"
    if found is None or found.mean is None:
        return head
    unit = " points" if fraction else ""
    parts = [
        f"{_signed(found.mean, fraction)}{unit}{_ends(found.low, found.high, fraction)} to {line.against}"
    ]
    if found.p_value is not None:
        parts.append(f"{found.test} over {found.n} seeds, p {p_text(found.p_value)}")
    if line.holm is not None:
        parts.append(f"{p_text(line.holm)} after Holm")
    if found.p_value is None:
        parts.append(found.note)
    return f"{head} ({', '.join(parts)})"


def legend(report: CompareReport) -> list[str]:
    """What the columns are, each said once, and only what is there."""
    lines = report.contrasts
    told = []
    if any(line.interval and line.interval.n > 1 for line in lines):
        told.append(
            f"± and [ ]: {100 * report.level:g} % Student t-intervals over seeds; differences paired by "
            "seed, of fractions in percentage points."
        )
    tests = dict.fromkeys(
        line.difference.test for line in lines if line.difference and line.difference.p_value is not None
    )
    if tests:
        told.append(f"p: two-sided, {' or '.join(tests)}.")
    for family, size in report.families().items():
        if size:
            where = " · ".join(part for part in family[:-1] if part)
            told.append(f"Holm: p corrected for the {size} tested {family[-1]} of {where}; verdicts at 5 %.")
    if any(line.effect is not None for line in lines):
        told.append(
            f"g: mean over spread of the paired differences with Hedges' correction, rough below {FEW} seeds."
        )
    drawn = [line.bootstrap for line in lines if line.bootstrap]
    if drawn:
        told.append(
            f"images [ ]: {100 * report.level:g} % percentile interval of the difference, {drawn[0].draws:,} "
            "draws of seeds and of test images (the same images for both and under all seeds); with few "
            "seeds too narrow."
        )
    if any(line.seeds_needed for line in lines):
        told.append(
            "undecided, not testable: with about so many seeds in all, the mean and spread seen would reach "
            "Holm's next step with 80 % power (>1,000: with no number that is worth running)."
        )
    deltas = dict.fromkeys(_tolerance(line) for line in lines if line.delta is not None)
    if deltas:
        told.append(
            f"equal: within {', '.join(deltas)} by two one-sided t-tests at 5 %, corrected as the "
            "differences are."
        )
    return told


def title(line: Contrast) -> str:
    """What a number is of, without the criterion."""
    found = line.quantity
    parts = [*found.block, found.evaluation]
    if found.metric != found.evaluation:
        parts.append(found.metric)
    if found.condition != "clean":
        parts.append(found.condition)
    for name in ("severity", "experience", "epoch"):
        value = getattr(found, name)
        if value is not None:
            parts.append(f"{'after ' if name == 'experience' else ''}{name} {value}")
    if found.subset != "all":
        parts.append(found.subset)
    return " · ".join(part for part in parts if part)


def verdict_text(line: Contrast) -> str:
    """The verdict, with the tolerance it is equal within or the seeds that would decide it."""
    if line.verdict == "equal":
        return f"equal within {_tolerance(line)}"
    if line.seeds_needed is None:
        return line.verdict
    seeds = ">1,000" if line.seeds_needed == math.inf else f"{line.seeds_needed:,.0f}"
    return f"{line.verdict}: {seeds} seeds"


def p_text(p_value: float | None) -> str:
    """A p to three digits; nothing for None."""
    return "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _sheet(report: CompareReport, lines: Sequence[Contrast]) -> Sheet:
    fraction = is_fraction(lines[0].quantity.metric)
    unit = " %" if fraction else ""
    metric = lines[0].quantity.metric
    name = metric if len(metric) <= LONGEST_HEADER else "mean"
    before = report.paired_in_time
    columns: dict[str, list[str]] = {
        "seeds": _shares(lines),
        **({f"before{unit}": [_mean(line.reference, fraction) for line in lines]} if before else {}),
        (f"after{unit}" if before else f"{name}{unit}"): [_mean(line.interval, fraction) for line in lines],
        ("after minus before" if before else f"minus {report.baseline}"): [
            _difference(line, fraction) for line in lines
        ],
        "p": [p_text(line.difference.p_value if line.difference else None) for line in lines],
        "Holm": [p_text(line.holm) for line in lines],
        "g": ["" if line.effect is None else f"{line.effect:+.1f}" for line in lines],
        "images": [
            f"[{100 * line.bootstrap.low:+.1f}, {100 * line.bootstrap.high:+.1f}]" if line.bootstrap else ""
            for line in lines
        ],
        "McNemar": _mcnemar(lines),
    }
    told = {head: cells for head, cells in columns.items() if any(cells)}
    rows = zip(
        (line.criterion for line in lines),
        *told.values(),
        (verdict_text(line) for line in lines),
        strict=True,
    )
    return Sheet(title(lines[0]), ("criterion", *told, "verdict"), tuple(rows), _caption(lines))


def _caption(lines: Sequence[Contrast]) -> str:
    """n, seeds, and what limits which line."""
    images = f"{lines[0].images:,} {'held-out training' if held_out(lines[0].quantity) else 'test'} images"
    seeds = sorted({seed for line in lines for seed in (*line.values, *line.reference_values)})
    told = [f"{images if lines[0].images != 1 else images[:-1]}; {_seeds(seeds)}."]
    notes: dict[str, list[str]] = {}
    for line in lines:
        if line.difference is not None and line.difference.note:
            notes.setdefault(line.difference.note, []).append(line.criterion)
        if line.missing and line.values:
            notes.setdefault(f"nothing for {_seeds(line.missing)}", []).append(line.criterion)
        if line.not_finite:
            notes.setdefault(f"not a finite number for {_seeds(line.not_finite)}", []).append(line.criterion)
        if line.own_reliability in ("WARN", "FAIL"):
            notes.setdefault(f"the figure's own checks say {line.own_reliability}", []).append(line.criterion)
    compared = sum(line.difference is not None for line in lines)
    for note, criteria in notes.items():
        told.append(f"{'All' if len(criteria) == compared > 1 else ', '.join(criteria)}: {note}.")
    return " ".join(told)


def _rank_sheet(found: Ranking) -> Sheet:
    groups = [f"{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    rows = []
    for criterion, rank in zip(found.criteria, found.ranks, strict=True):
        letters = "".join(
            groups[place % 26] for place, members in enumerate(found.alike) if criterion in members
        )
        rows.append((criterion, f"{rank:.2f}", letters))
    if found.p_value is None:
        caption = f"{found.blocks} rankings: no test."
    else:
        caption = (
            f"{found.blocks} rankings, 1 is best, ties share their mean. Friedman's chi-squared "
            f"{found.statistic:.2f}, p {p_text(found.p_value)}; Nemenyi's critical difference at 5 % is "
            f"{found.critical_difference:.2f}: criteria with a letter in common are not told apart."
        )
    return Sheet("average ranks", ("criterion", "rank", "alike"), tuple(rows), caption)


def _mean(interval: Interval | None, fraction: bool) -> str:
    if interval is None:
        return "-"
    half = interval.half_width
    if fraction:
        return f"{100 * interval.mean:.2f}" + ("" if half is None else f" ± {100 * half:.2f}")
    return f"{interval.mean:.4g}" + ("" if half is None else f" ± {half:.2g}")


def _difference(line: Contrast, fraction: bool) -> str:
    found = line.difference
    if found is None or found.mean is None:
        return ""
    return _signed(found.mean, fraction) + _ends(found.low, found.high, fraction)


def _ends(low: float | None, high: float | None, fraction: bool) -> str:
    if low is None or high is None:
        return ""
    return f" [{_signed(low, fraction)}, {_signed(high, fraction)}]"


def _signed(value: float, fraction: bool) -> str:
    return f"{100 * value:+.2f}" if fraction else f"{value:+.3g}"


def _tolerance(line: Contrast) -> str:
    delta = line.delta or 0.0
    return f"±{100 * delta:g} points" if is_fraction(line.quantity.metric) else f"±{delta:g}"


def _mcnemar(lines: Sequence[Contrast]) -> list[str]:
    """McNemar's p of two runs; with several seeds it is in JSON and CSV only."""
    if any(line.mcnemar and len(line.mcnemar) > 1 for line in lines):
        return ["" for _ in lines]
    return [p_text(next(iter(line.mcnemar.values())).p_value) if line.mcnemar else "" for line in lines]


def _shares(lines: Sequence[Contrast]) -> list[str]:
    """How many seeds each has of those it should have, where one lacks any."""
    if not any(line.missing or line.not_finite for line in lines):
        return []
    return [
        f"{len(line.values)}/{len(line.values) + len(line.missing) + len(line.not_finite)}" for line in lines
    ]


def _seeds(seeds: Iterable[int]) -> str:
    known = list(seeds)
    return f"{'seed' if len(known) == 1 else 'seeds'} {', '.join(map(str, known))}" if known else "no seed"
