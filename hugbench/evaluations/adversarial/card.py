"""The reliability card of a robust accuracy: what speaks for the figure and what against it.

A figure is a claim that no image of a ball fools the victim. The checks look for what has made such
claims false (Carlini et al. 2019, arXiv 1902.06705; Athalye et al. 2018, arXiv 1802.00420; Croce et al.
2020, arXiv 2010.09670): gradients that are masked or not followed far enough, losses that are blind,
images that other attacks find, and tools that leave something behind. They use attacks of their own
beside those that made the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hugbench.evaluations.adversarial import gradients, queries, radii
from hugbench.evaluations.adversarial.attacks import Norm
from hugbench.evaluations.adversarial.contract import determinism, drawn_from, input_contract, sample_size
from hugbench.evaluations.adversarial.evidence import Check, Figure, judged, worst
from hugbench.evaluations.adversarial.scales import scales
from hugbench.evaluations.adversarial.state import RANDOM_STATE, State, own_randomness
from hugbench.evaluations.adversarial.victim import Victim
from hugbench.evaluations.base import Reliability

__all__ = ["Card", "Check", "examine"]

OPTIONAL = frozenset({"transfer", "eight_bits", "square"})
"""Checks that may have nothing to look at: without a paired baseline (the baseline itself has none), below
one level of 8 bits, on images too small for squares. Any other that is skipped was not to be had, and
the figure is no better than WARN."""

ATTACKS = (
    "zero_gradients", "one_step", "loss_gap", "losses", "more_steps", "invariance", "square", "transfer",
    "random_signs", "worst_case", "eps_sweep", "whole_box", "eight_bits",
)  # fmt: skip
"""The checks that attack, in order."""


@dataclass(frozen=True)
class Card:
    """All checks of one figure, in the order in which they are told."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Reliability:
        """The worst of the checks; a skipped one counts as PASS if it is OPTIONAL, else as WARN."""
        verdicts = [check.verdict for check in self.checks]
        lacking = any(c.verdict == "SKIP" and c.name not in OPTIONAL for c in self.checks)
        return worst([*verdicts, "WARN"] if lacking else verdicts)

    def to_json(self) -> dict[str, Any]:
        """The verdict, and every check with name, verdict, value, threshold and told."""
        return {"verdict": self.verdict, "checks": [asdict(check) for check in self.checks]}


def examine(
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    *,
    norm: Norm,
    eps: float,
    robust: Tensor,
    seed: int,
    reference: Victim | None,
) -> Card:
    """Examine a robust accuracy on a sample of its images.

    Deterministic given its arguments, also where the victim draws from the global generators. These, and
    the victim's modes, gradients and weights, are afterwards as they were, whatever happened.

    Args:
        victim: at scale 1, in evaluation mode.
        images: float32 (B, C, H, W) in [0, 1], on the victim's device; 100 to 200 are a good sample.
        targets: places among the classes in play, int64 (B,).
        norm: of the ball.
        eps: its radius, in the units of images in [0, 1].
        robust: bool (B,), which of the images the figure counts as robust; those that are misclassified
            as they are, are not.
        seed: of what the checks draw.
        reference: the paired baseline with the same classes in play; None where there is none.

    Raises:
        ValueError: there is no image.
    """
    if not len(images):
        raise ValueError("images: expected at least one, found none")
    figure = Figure(victim, images, targets, norm, eps, robust.to(images.device), seed)
    with own_randomness(images.device, seed, "card"):
        before = State.of(victim, images.device)
        contract = input_contract(figure)
        drawn: list[str] = []
        if contract.verdict == "FAIL":
            skipped = "not possible with such a victim"
            rest = [Check(name, "SKIP", None, None, skipped) for name in ("determinism", *ATTACKS)]
        else:
            drawn = [f"{RANDOM_STATE}{name}" for name in drawn_from(figure)]
            rest = [determinism(figure), *_attacks(figure, reference)]
        changes = [name for name in before.changes(victim, images.device) if name not in drawn]
        before.restore(victim)
    return Card((sample_size(figure), contract, *rest, _leftovers(changes)))


def _attacks(figure: Figure, reference: Victim | None) -> list[Check]:
    """The checks of ATTACKS."""
    probed = gradients.probe(figure, scales(figure.victim, figure.images, figure.targets))
    few, by_few = gradients.losses(figure, probed)
    hard = probed.hardest(figure.robust & ~by_few)
    more, by_more = gradients.more_steps(figure, hard)
    scaled, by_scale = gradients.invariance(figure, hard)
    left = hard & ~(by_more | by_scale)
    square, by_square = queries.square(figure, left)
    transfer, by_transfer = queries.transfer(figure, left, reference)
    signs, by_signs = queries.random_signs(figure, left)
    return [
        gradients.zero_gradients(figure, probed),
        gradients.one_step(figure, probed),
        gradients.loss_gap(figure, probed),
        few,
        more,
        scaled,
        square,
        transfer,
        signs,
        _worst_case(figure, [by_few, by_more, by_scale, by_square, by_transfer, by_signs]),
        *radii.sweep(figure, probed),
        radii.eight_bits(figure, probed),
    ]


def _worst_case(figure: Figure, broken: Sequence[Tensor]) -> Check:
    """Survivors that anything here broke: by so much at least the figure is too high on the sample."""
    count = int(torch.stack(list(broken)).any(dim=0).sum())
    return judged("worst_case", count, len(figure.images), "robust, yet fooled by any of these")


def _leftovers(changes: Sequence[str]) -> Check:
    """What was different after the examination, but for generators that the victim itself draws from."""
    told = f"left changed: {', '.join(changes)}" if changes else "kinds of things left changed"
    return Check("leftovers", "FAIL" if changes else "PASS", len(changes), 0, told)
