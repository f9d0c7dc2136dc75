"""Whether numbers have moved since a reference: a change of the code told from the noise of training.

Two trainings of the same code on another machine, another version of torch or another seed differ by noise.
With d_s the difference of a number, new minus reference, of seed s, the mean over the n shared seeds has
moved where it is larger than that noise explains, by the test images and by the seeds:

1. *The test images.* Two trainings of one recipe disagree about as often as either is wrong (Jiang et al.,
   Assessing Generalization of SGD via Disagreement, ICLR 2022, arXiv 2106.13799), and images on which both
   are right or both are wrong leave the difference as it is: the variance of d_s is up to v = p(1 - p)/N, the
   square of the binomial standard error of an accuracy p on N images (p = (sum + 1)/(N + 2), so that none is
   sure). A number that is no share of images has v = x²/N with x its size, the variance of a mean over N
   images whose values spread as widely as they are large. Tested as z: what is less than this is no news.
2. *The seeds*, in two ways, whose smaller p counts twice. The spread of the values, s² over the seeds of the
   reference and over those of the new runs: φ = 2 s²/v of f = 4 degrees of freedom with three seeds on both
   sides (the 2: a difference has twice the variance of a value). And the spread of the differences, φ = s²/v
   of f = 2, which is far smaller where a change shifts all seeds alike, as a fault in a metric does. So few
   degrees tell little: φ is drawn towards φ0, that of the same metric and protocol under all criteria and
   conditions, as if that had come from f0 more: (f φ + f0 φ0)/(f + f0). How far apart the φ of a metric lie,
   beyond what f explains, says how large f0 is; it is at most f. Tested as a t with f + f0 degrees of freedom
   (Smyth, Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 3, 2004).

The larger p of 1 and 2 is corrected by Holm's method so that the chance that anything of a whole suite is
told by mistake is 2 %: half of it is shared among the primary numbers (`hugbench.results.primary`), half
among all others, and numbers that are the same to the last bit for all seeds take no share. In simulations of
unchanged code (tests/unit/results/test_drift.py), suites of 90 numbers of three criteria with three seeds
each are told to have moved in none to 4 % of 300 cases, also where one criterion spreads three times as
widely as another or the numbers of a run go together.

What is assumed: without a change d_s has mean 0, and a seed's luck on one side is independent of that on the
other or shared (then d_s varies less than 2 s², and the first of the two is stricter than it says).

What is caught: with three seeds of three criteria (8 degrees of freedom) and 30 primary numbers the tolerance
is 5.4 times the standard deviation over seeds. With 3 primary ones, three points are caught in 98 % of
simulated cases where seeds spread by half a point and in 38 % where they do by one; with five seeds in 83 %.
What shifts all seeds alike is caught however widely they spread, if it is more than the images explain.
`tolerance` says it of every number.

Where code and environment are the same, so is every bit, and `identical` says so; what is not is no failure
by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hugbench.results.batch import Values
from hugbench.results.cells import Cells, Quantity
from hugbench.results.comparison import direction
from hugbench.results.dispersion import Spread, image_variance, moderated
from hugbench.results.multiplicity import holm, next_level
from hugbench.results.primary import primary_of

ALPHA = 0.02
"""The chance that a suite whose code has not changed is said to have moved, if all that is assumed holds."""

Verdict = Literal["identical", "within", "better", "worse", "differs", "not finite", "not judged"]

MOVED: tuple[Verdict, ...] = ("better", "worse", "differs", "not finite")
"""What fails a check. Not finite: no number at all on one side, where the other has one for every seed."""


@dataclass(frozen=True)
class Change:
    """A criterion's number, before and now.

    Attributes:
        quantity: what it is of.
        criterion: whose.
        primary: whether it answers the suite's question.
        images: behind it.
        reference: finite values by seed, those of the reference.
        values: finite values by seed, the new ones.
        difference: mean over the shared seeds, new minus reference; None without a shared one.
        tolerance: the least mean difference that would have been told, with as many others to be judged
            (where all are identical: with all, by the spread of the values); None
            where there is no spread to judge by.
        p: two-sided, before the correction; None where there is no test.
        holm: after it.
        verdict: within (the tolerance), identical to the last bit, moved (better, worse, differs where
            neither is better), not finite, or not judged.
    """

    quantity: Quantity
    criterion: str
    primary: bool
    images: int
    reference: Values
    values: Values
    difference: float | None
    tolerance: float | None
    p: float | None
    holm: float | None
    verdict: Verdict

    @property
    def moved(self) -> bool:
        """Whether it fails a check."""
        return self.verdict in MOVED

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those with a finite number on both sides, ascending."""
        return tuple(sorted(self.reference.keys() & self.values.keys()))

    def to_json(self) -> dict[str, Any]:
        """Plain data; seeds become strings where they are keys."""
        return {
            **self.quantity._asdict(),
            "criterion": self.criterion,
            "primary": self.primary,
            "n": self.images,
            "reference": {str(seed): value for seed, value in self.reference.items()},
            "values": {str(seed): value for seed, value in self.values.items()},
            "difference": self.difference,
            "tolerance": self.tolerance,
            "p": self.p,
            "holm": self.holm,
            "verdict": self.verdict,
        }


@dataclass
class _Line:
    """A change in the making.

    `variance`: of a one-seed difference, as the images have it. `spreads`: how much more the seeds have, by
    the values and by the differences.
    """

    quantity: Quantity
    criterion: str
    primary: bool
    images: int
    reference: Values
    values: Values
    lost: bool
    variance: float = 0.0
    spreads: list[Spread] = field(default_factory=list)
    p: float | None = None
    holm: float | None = None

    @property
    def differences(self) -> list[float]:
        return [self.values[seed] - self.reference[seed] for seed in self.values if seed in self.reference]


def drift(reference: Cells, new: Cells, share: Callable[[str], bool]) -> list[Change]:
    """Every number that both sides have, judged.

    Args:
        reference: the frozen records.
        new: those of now.
        share: whether a metric is a share of the images, by name.
    """
    lines = _lines(reference, new)
    for line in lines:
        _spread(line, share(line.quantity.metric))
    for way in (0, 1):
        _moderate([line for line in lines if line.spreads], way)
    for line in lines:
        line.p = _p(line)
    levels = {
        primary: _correct([line for line in lines if line.primary == primary]) for primary in (True, False)
    }
    return [_judged(line, levels[line.primary]) for line in lines]


def _lines(reference: Cells, new: Cells) -> list[_Line]:
    primary = primary_of(reference.cells)
    lines = []
    for quantity, cell in reference.cells.items():
        for criterion, frozen in cell.items():
            now = new.cells.get(quantity, {}).get(criterion, {})
            shared = frozen.keys() & now.keys()
            if not shared:
                continue
            lost = (
                len({frozen[seed] is None for seed in shared} | {now[seed] is not None for seed in shared})
                == 1
            )
            images = min(reference.images[quantity], new.images[quantity])
            before, after = reference.values(quantity, criterion), new.values(quantity, criterion)
            lines.append(_Line(quantity, criterion, quantity in primary, images, before, after, lost))
    return lines


def _spread(line: _Line, share: bool) -> None:
    """Variance by the images, and the dispersions over seeds beyond it."""
    values = [*line.reference.values(), *line.values.values()]
    if not values:
        return
    line.variance = image_variance(values, line.images, share)
    sides = _squares(list(line.reference.values()), list(line.values.values()))
    differences = _squares(line.differences)
    if sides.degrees and line.variance:
        scales = 2 / line.variance, 1 / line.variance
        line.spreads = [
            Spread(scale * found.dispersion / max(found.degrees, 1), found.degrees)
            for scale, found in zip(scales, (sides, differences), strict=True)
        ]


def _squares(*groups: Sequence[float]) -> Spread:
    """The sum of squares about the mean of each group, and its degrees of freedom."""
    squares = [(value - _mean(group)) ** 2 for group in groups for value in group]
    return Spread(math.fsum(squares), sum(max(len(group) - 1, 0) for group in groups))


def _moderate(lines: Sequence[_Line], way: int) -> None:
    """Draw one dispersion of each line towards that of its metric."""
    known = [line for line in lines if line.spreads[way].degrees and (way == 0 or any(line.differences))]
    groups = [(line.quantity.block, line.quantity.evaluation, line.quantity.metric) for line in known]
    found = moderated([line.spreads[way] for line in known], groups)
    for line, spread in zip(known, found, strict=True):
        line.spreads[way] = spread


def _p(line: _Line) -> float | None:
    """The larger p of images and seeds; None where no spread over seeds is known."""
    from scipy.special import ndtr, stdtr

    differences = line.differences
    if not differences or not line.spreads:
        return None if any(differences) or not differences else 1.0
    z = abs(_mean(differences)) / math.sqrt(line.variance / len(differences))
    if z == 0:
        return 1.0
    by_seeds = [
        2 * float(stdtr(spread.degrees, -z / math.sqrt(spread.dispersion))) if spread.dispersion else 0.0
        for spread in line.spreads
        if spread.degrees
    ]
    return max(2 * float(ndtr(-z)), min(1.0, len(by_seeds) * min(by_seeds)))


def _correct(lines: Sequence[_Line]) -> float:
    """Holm's correction over half of the budget; returns the level that the next would have to reach."""
    adjusted = holm([line.p if any(line.differences) else None for line in lines])
    for line, p in zip(lines, adjusted, strict=True):
        line.holm = p
    tested = any(p is not None for p in adjusted)
    return next_level(adjusted if tested else [1.0] * len(lines), ALPHA / 2)


def _judged(line: _Line, level: float) -> Change:
    differences = line.differences
    return Change(
        quantity=line.quantity,
        criterion=line.criterion,
        primary=line.primary,
        images=line.images,
        reference=line.reference,
        values=line.values,
        difference=_mean(differences) if differences else None,
        tolerance=_tolerance(line, level),
        p=line.p,
        holm=line.holm,
        verdict=_verdict(line),
    )


def _tolerance(line: _Line, level: float) -> float | None:
    """The mean difference whose p is `level`."""
    if not line.spreads or not line.differences:
        return None
    from scipy.special import ndtri, stdtrit

    ways = [spread for spread in line.spreads if spread.degrees]
    if not any(line.differences):
        ways = ways[:1]
    by_images = -float(ndtri(level / 2))
    by_seeds = [
        -float(stdtrit(spread.degrees, level / len(ways) / 2)) * math.sqrt(spread.dispersion)
        for spread in ways
    ]
    return max(by_images, min(by_seeds)) * math.sqrt(line.variance / len(line.differences))


def _verdict(line: _Line) -> Verdict:
    if line.lost:
        return "not finite"
    differences = line.differences
    if not any(differences):
        return "identical"
    if line.holm is None:
        return "not judged"
    if line.holm > ALPHA / 2:
        return "within"
    better = direction(line.quantity.metric)
    if better == "neutral":
        return "differs"
    return "better" if (_mean(differences) > 0) == (better == "higher") else "worse"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
