"""What a reliability card is made of: the figure under examination, checks, and when a count is too many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp, lgamma, log, log1p
from typing import Literal

from torch import Tensor

from hugbench.evaluations.adversarial.attacks import Norm
from hugbench.evaluations.adversarial.victim import Victim

Verdict = Literal["PASS", "WARN", "FAIL", "SKIP"]

ALLOWED = 0.005
"""Share of the images by which an attack may lower a figure before it counts: half a point, what attacks
of the same strength differ by from seed to seed."""

CHANCE = 0.05
"""A count fails a figure if a true share that is allowed gives as many or more with less than this
probability. A sample of 100 has one image more or less by luck: with ALLOWED two of 100 are a warning,
three (probability 0.014) a failure; an overstatement of 5 points passes with probability 0.04."""


@dataclass(frozen=True)
class Check:
    """One piece of evidence.

    Attributes:
        name: of the check.
        verdict: SKIP where it had nothing to look at.
        value: the number; None where there is none.
        threshold: up to which `value` passes.
        told: a phrase that says what the number is.
    """

    name: str
    verdict: Verdict
    value: float | None
    threshold: float | None
    told: str


@dataclass(frozen=True)
class Figure:
    """A robust accuracy and the sample of images to examine it with.

    Attributes:
        victim: at scale 1.
        images: float32 (B, C, H, W) in [0, 1].
        targets: places among the victim's classes, int64 (B,).
        norm: of the ball.
        eps: its radius.
        robust: bool (B,), which images the figure counts as robust.
        seed: of what the checks draw.
    """

    victim: Victim
    images: Tensor
    targets: Tensor
    norm: Norm
    eps: float
    robust: Tensor
    seed: int

    @property
    def diameter(self) -> float:
        """The radius from which on every image lies in the ball: 1, or √(CHW) in L2."""
        return 1.0 if self.norm == "Linf" else float(self.images[0].numel() ** 0.5)


def judged(name: str, count: int, total: int, told: str, allowed: float = ALLOWED) -> Check:
    """The check that `count` of `total` images are not too many.

    It passes up to the share `allowed` or a single image, warns above, and fails where the count is
    beyond CHANCE.
    """
    most = max(allowed, 1 / total)
    verdict: Verdict = "PASS"
    if count > most * total:
        verdict = "FAIL" if at_least(count, total, allowed) < CHANCE else "WARN"
    return Check(name, verdict, count / total, most, told)


def no_worse_than_warn(check: Check) -> Check:
    """The check of a sign that alone says nothing final of a figure."""
    return replace(check, verdict="WARN") if check.verdict == "FAIL" else check


def at_least(count: int, total: int, share: float) -> float:
    """Probability of `count` or more among `total`, each with probability `share`, in (0, 1)."""
    fewer = (
        exp(
            lgamma(total + 1)
            - lgamma(k + 1)
            - lgamma(total - k + 1)
            + k * log(share)
            + (total - k) * log1p(-share)
        )
        for k in range(count)
    )
    return max(0.0, 1.0 - sum(fewer))


def worst(verdicts: Iterable[Verdict]) -> Literal["PASS", "WARN", "FAIL"]:
    """The worst of them; SKIP counts as PASS."""
    found = set(verdicts)
    return "FAIL" if "FAIL" in found else "WARN" if "WARN" in found else "PASS"
