"""Checks that ask whether gradients were followed as far as they lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.evaluations.adversarial.evidence import Check, Figure, judged, no_worse_than_warn
from hugbench.evaluations.adversarial.losses import cross_entropy, dlr, margin
from hugbench.evaluations.adversarial.probe import Reached, Way, climb, misled, project
from hugbench.seeding import generator

STEPS = 5
"""Of every probe. On plain nets of small images ten find at most 2 points more."""

FURTHER = 4
"""Times STEPS, for the hardest survivors."""

RESTARTS = 3
"""From random places of the ball, for the hardest survivors."""

HARDEST = 32
"""Survivors that the dear checks attack: those whose margin the probes have brought closest to 0. Others
fall later if they fall at all, and three that fall fail the figure."""

NOTHING = 2.0**-23
"""A cross-entropy's gradient so much smaller than the margin's has lost the target's share to rounding."""

ONE_STEP = 0.02
"""Share of images that one step fools and the probes do not: 0 on sound nets, tens of per cent where
gradients are of use only where they start."""

FAR_WEAKER = 0.2
"""Difference in fooled images between losses at equal steps. On sound nets cross-entropy and margin are up
to 12 points apart, in the middle of the range; more says that one of them is saturated or blind. DLR
without adaptive steps is up to 30 points behind, so it only counts where it is ahead."""

SCALES = (1 / 64, 1 / 8, 1.0, 8.0, 64.0)
SHIFTS = (-20.0, 20.0)
"""What the logits are multiplied with and shifted by; no prediction, and so no figure, depends on it."""


@dataclass(frozen=True)
class Probed:
    """What the probes came to on the images that are right when clean; all others count as fooled.

    Attributes:
        ways: cross-entropy at every scale of the attack, then margin, then DLR.
        one: after one step as long as the radius.
        many: after STEPS.
        places: int64, where among the figure's images the probed ones are.
    """

    ways: tuple[Way, ...]
    one: Reached
    many: Reached
    places: Tensor

    def fooled(self, figure: Figure) -> Tensor:
        """Bool (B,): which of the figure's images, misclassified ones included, any way fools."""
        found = torch.ones_like(figure.robust)
        found[self.places] = self.many.fooled.any(dim=0)
        return found

    def hardest(self, left: Tensor) -> Tensor:
        """The HARDEST of the images that are left, bool (B,): those with the lowest margins."""
        margins = torch.full(left.shape, torch.inf, device=left.device)
        margins[self.places] = self.many.margins.amin(dim=0)
        order = margins.masked_fill(~left, torch.inf).argsort(stable=True)[:HARDEST]
        return torch.zeros_like(left).index_fill(0, order, True) & left


def probe(figure: Figure, scales: Sequence[float]) -> Probed:
    """Attack every image that is right when clean, in every way."""
    places = (~misled(figure.victim, figure.images, figure.targets)).nonzero().squeeze(1)
    ways = (
        *(Way(cross_entropy, figure.eps, scale) for scale in scales),
        Way(margin, figure.eps),
        Way(dlr, figure.eps),
    )
    given = figure.victim, figure.images[places], figure.targets[places], ways, figure.norm
    return Probed(ways, climb(*given, steps=1, stride=1.0), climb(*given, steps=STEPS), places)


def zero_gradients(figure: Figure, probed: Probed) -> Check:
    """Survivors whose gradient is zero, exactly or nearly, for every loss: nothing was attacked there."""
    slopes = probed.one.slopes
    margins = slopes[-2]
    scaled = torch.tensor([way.scale for way in probed.ways[:-2]], device=slopes.device).unsqueeze(1)
    cross = slopes[:-2] > NOTHING * scaled * margins
    blind = ~(cross.any(dim=0) | (margins > 0))
    count = int((blind & figure.robust[probed.places]).sum())
    worst = 1 - cross.float().mean(dim=1).min() if cross.numel() else 0.0
    told = f"robust, without a gradient (cross-entropy alone: {worst:.0%})"
    return judged("zero_gradients", count, len(figure.images), told)


def one_step(figure: Figure, probed: Probed) -> Check:
    """Images that one step fools and ten do not, a sign that gradients are of use only where they start."""
    count = int((probed.one.fooled.any(dim=0) & ~probed.many.fooled.any(dim=0)).sum())
    told = f"fooled by one step, not by {STEPS}"
    return judged("one_step", count, len(figure.images), told, ONE_STEP)


def loss_gap(figure: Figure, probed: Probed) -> Check:
    """How far cross-entropy or the margin is behind the strongest of these and DLR; no worse than WARN."""
    kinds = {"cross-entropy": slice(0, -2), "margin": slice(-2, -1), "DLR": slice(-1, None)}
    found = {name: int(probed.many.fooled[ways].any(dim=0).sum()) for name, ways in kinds.items()}
    strongest = max(found, key=found.__getitem__)
    weakest = min(("cross-entropy", "margin"), key=found.__getitem__)
    total = len(figure.images)
    told = f"fooled by {strongest} more than by {weakest}"
    if strongest == weakest:
        told = "cross-entropy and margin fool as many"
    return no_worse_than_warn(judged("loss_gap", found[strongest] - found[weakest], total, told, FAR_WEAKER))


def losses(figure: Figure, probed: Probed) -> tuple[Check, Tensor]:
    """Survivors of the figure that a few steps on cross-entropy, margin or DLR break."""
    broken = figure.robust & probed.fooled(figure)
    told = f"robust, yet {STEPS} steps on a loss fool it"
    return judged("losses", int(broken.sum()), len(figure.images), told), broken


def more_steps(figure: Figure, hard: Tensor) -> tuple[Check, Tensor]:
    """Survivors, among the hardest, that fall to FURTHER times the steps from RESTARTS random places."""
    images = figure.images[hard]
    ways = (Way(margin, figure.eps), Way(dlr, figure.eps), Way(margin, figure.eps))
    starts = torch.stack([_somewhere(figure, images, restart) for restart in range(RESTARTS)])
    steps = FURTHER * STEPS
    given = figure.victim, images, figure.targets[hard], ways, figure.norm
    broken = among(hard, climb(*given, steps=steps, starts=starts).fooled.any(dim=0))
    told = f"robust, yet {steps} steps from {RESTARTS} starts fool it (tried: {int(hard.sum())})"
    return judged("more_steps", int(broken.sum()), len(figure.images), told), broken


def invariance(figure: Figure, hard: Tensor) -> tuple[Check, Tensor]:
    """Survivors, among the hardest, that fall once logits are rescaled or shifted.

    It changes no prediction, either, or they are at the limits of float32.
    """
    ways = [Way(cross_entropy, figure.eps, scale) for scale in SCALES]
    ways += [Way(cross_entropy, figure.eps, shift=shift) for shift in SHIFTS]
    given = figure.victim, figure.images[hard], figure.targets[hard], ways, figure.norm
    broken = among(hard, climb(*given, steps=STEPS).fooled.any(dim=0))
    changed = _changed(figure, ways)
    told = f"robust, yet fooled by rescaled logits (tried: {int(hard.sum())})"
    if changed:
        told = "predictions change with scale or shift: float32 is at its limits"
    return judged("invariance", changed or int(broken.sum()), len(figure.images), told), broken


def _changed(figure: Figure, ways: Sequence[Way]) -> int:
    """Images whose prediction is another one under any way's scale and shift."""
    with torch.no_grad():
        logits = figure.victim(figure.images)
    plain = logits.argmax(dim=1)
    moved = torch.stack([(way.scale * logits + way.shift).argmax(dim=1) for way in ways])
    return int((moved != plain).any(dim=0).sum())


def _somewhere(figure: Figure, images: Tensor, restart: int) -> Tensor:
    """A random place in the ball around every image, within [0, 1]."""
    draw = generator(figure.seed, "card", "start", restart)
    noise = 2 * torch.rand(images.shape, generator=draw) - 1
    scaled = figure.eps * noise.to(images.device)
    return project(images + scaled, images, figure.eps, figure.norm)


def among(places: Tensor, broken: Tensor) -> Tensor:
    """What is known of the images at some places, bool, among all of them."""
    found = torch.zeros_like(places)
    found[places] = broken
    return found
