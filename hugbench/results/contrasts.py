"""What a comparison comes to: a line for every number of every criterion, with a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hugbench.results.cells import Quantity
from hugbench.results.comparison import direction
from hugbench.results.mcnemar import McNemar
from hugbench.results.ranks import Ranking
from hugbench.results.statistics import Interval, Paired

if TYPE_CHECKING:
    from hugbench.results.published import Published

LEVEL = 0.95

Family = tuple[str, str, str, str, str]
"""Dataset, backbone, protocol, variant, and which differences between the models there."""

BEFORE = "before"
"""What a criterion is compared with where it is compared with itself."""

Verdict = Literal[
    "baseline",
    "better",
    "worse",
    "differs",
    "equal",
    "undecided",
    "identical",
    "not testable",
    "unreliable",
    "no result",
    "no baseline",
]


def family_of(quantity: Quantity, primary: bool) -> Family:
    """What is corrected together: what answers the question, apart from the rest; test images, apart from
    held-out ones, which one chooses by."""
    what = "primary differences" if primary else "other differences"
    return (*quantity.block, f"{what} on held-out images" if held_out(quantity) else what)


def held_out(quantity: Quantity) -> bool:
    """Whether the images are held-out training images and no test images."""
    return "split=validation" in quantity.evaluation


@dataclass(frozen=True)
class Bootstrap:
    """A percentile interval of the difference over resampled seeds and test images."""

    low: float
    high: float
    draws: int
    images: int
    seeds: int


@dataclass(frozen=True)
class Contrast:
    """One criterion's number against the baseline's.

    Attributes:
        quantity: what the number is of.
        criterion: its label.
        against: what it is compared with: the baseline's label, or `before`.
        images: number of images behind each value (the fewest, where they differ).
        values: finite values by seed, ascending.
        interval: mean and t-interval over seeds; None without a value.
        reference, reference_values: the same of what it is compared with.
        difference: first minus second; None for the baseline itself, or where either has no value.
        verdict: what may be said, at 5 % after Holm's correction.
        primary: whether it is one of the numbers that answer the suite's question.
        missing, not_finite: seeds without a record, seeds whose value is no number.
        reliability: the worst verdict of either figure's own checks; None for none.
        own_reliability: that of the criterion's figure alone.
        holm: p of the difference after Holm's correction over its family; None where nothing is tested.
        effect: Hedges' g of the paired differences; None below 3 seeds and without spread.
        delta: differences up to this are as good as none; None where nobody said.
        equivalence: p of "beyond ±delta" after Holm's correction over its family; None where untested.
        seeds_needed: about how many seeds would decide it, where it is undecided or has too few; infinity
            for more than 1,000; None where it is decided, or nothing is known of the spread.
        bootstrap: where there are per-example predictions that it can be had from.
        mcnemar: McNemar's test by seed, the same.
    """

    quantity: Quantity
    criterion: str
    against: str
    images: int
    values: Mapping[int, float]
    interval: Interval | None
    reference: Interval | None
    difference: Paired | None
    verdict: Verdict
    reference_values: Mapping[int, float] = field(default_factory=dict)
    primary: bool = True
    missing: tuple[int, ...] = ()
    not_finite: tuple[int, ...] = ()
    reliability: str | None = None
    own_reliability: str | None = None
    holm: float | None = None
    effect: float | None = None
    delta: float | None = None
    equivalence: float | None = None
    seeds_needed: float | None = None
    bootstrap: Bootstrap | None = None
    mcnemar: Mapping[int, McNemar] | None = None

    @property
    def family(self) -> Family:
        """Which differences it is corrected together with."""
        return family_of(self.quantity, self.primary)

    def to_json(self) -> dict[str, Any]:
        """Plain data, without NaN or infinity; seeds become strings where they are keys."""
        return {
            **self.quantity._asdict(),
            "direction": direction(self.quantity.metric),
            "primary": self.primary,
            "family": self.family[-1],
            "criterion": self.criterion,
            "against": self.against,
            "n": self.images,
            "values": {str(seed): value for seed, value in self.values.items()},
            "interval": self.interval and dict(vars(self.interval)),
            "reference": self.reference and dict(vars(self.reference)),
            "difference": self.difference and dict(vars(self.difference)),
            "holm_p": self.holm,
            "effect_size": self.effect,
            "delta": self.delta,
            "equivalence_p": self.equivalence,
            "bootstrap": self.bootstrap and dict(vars(self.bootstrap)),
            "mcnemar": self.mcnemar
            and {str(seed): dict(vars(found)) for seed, found in self.mcnemar.items()},
            "verdict": self.verdict,
            "seeds_needed": self.seeds_needed if self.seeds_needed != math.inf else ">1000",
            "missing": list(self.missing),
            "not_finite": list(self.not_finite),
            "reliability": self.reliability,
            "own_reliability": self.own_reliability,
        }


@dataclass(frozen=True)
class CompareReport:
    """What `hugbench.compare` returns.

    Attributes:
        baseline: label of the baseline; `before` where each criterion is compared with itself.
        criteria: all labels, in order.
        level: of every interval; a verdict is a two-sided test at 1 - level after Holm's correction.
        contrasts: one line per quantity and criterion.
        ranking: criteria by average rank, if asked for.
        notes: what does not show in the numbers.
        sources: where the numbers come from: names, folders.
        runs: ids of the runs behind each criterion.
        published: numbers from papers to show beside, if asked for; they take part in nothing.
    """

    baseline: str
    criteria: tuple[str, ...]
    level: float
    contrasts: tuple[Contrast, ...]
    ranking: Ranking | None
    notes: tuple[str, ...]
    sources: Mapping[str, str]
    runs: Mapping[str, tuple[str, ...]]
    published: tuple[Published, ...] = ()

    @property
    def paired_in_time(self) -> bool:
        """Whether it compares every criterion before and after a change."""
        return any(line.against == BEFORE for line in self.contrasts)

    def families(self) -> dict[Family, int]:
        """How many tested differences each family of Holm's correction has."""
        sizes: dict[Family, int] = {}
        for line in self.contrasts:
            sizes[line.family] = sizes.get(line.family, 0) + (line.holm is not None)
        return sizes

    def to_json(self) -> dict[str, Any]:
        """Plain data, without NaN or infinity."""
        return {
            "baseline": self.baseline,
            "criteria": list(self.criteria),
            "level": self.level,
            "sources": dict(self.sources),
            "runs": {label: list(ids) for label, ids in self.runs.items()},
            "published": [each.to_json() for each in self.published],
            "families": [
                {
                    **dict(zip(Quantity._fields[:4], family[:-1], strict=True)),
                    "family": family[-1],
                    "tested": size,
                }
                for family, size in self.families().items()
            ],
            "notes": list(self.notes),
            "ranking": self.ranking and self.ranking.to_json(),
            "contrasts": [line.to_json() for line in self.contrasts],
        }
