"""What a victim must keep to before any attack on it means something."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hugbench.evaluations.adversarial.evidence import Check, Figure, Verdict, judged
from hugbench.evaluations.adversarial.gradients import STEPS
from hugbench.evaluations.adversarial.losses import margin
from hugbench.evaluations.adversarial.probe import Way, climb
from hugbench.evaluations.adversarial.state import generators, moved
from hugbench.evaluations.adversarial.victim import Victim, fooled

TOLERANCE = 1e-3
"""Largest difference of logits between batch sizes, as a share of the largest logit: float32 sums in
another order differ by some 1e-6, TF32 by 1e-4; a BatchNorm in training mode by far more."""

LEAST_IMAGES = 60
"""Below so many images an overstatement of 5 points is more likely than 1 in 5 to go unnoticed."""

PASSES = 10
"""Forward passes that an expectation over transformation averages; Athalye et al. (2018) take 10 to 30."""


def sample_size(figure: Figure) -> Check:
    """Enough images for the shares of the other checks to mean something."""
    found = len(figure.images)
    verdict: Verdict = "PASS" if found >= LEAST_IMAGES else "WARN"
    told = f"images examined, at least wanted; {int(figure.robust.sum())} robust"
    return Check("sample", verdict, found, LEAST_IMAGES, told)


def input_contract(figure: Figure) -> Check:
    """Finite logits (B, K) of float images in [0, 1], which are left alone, whatever the batch size."""
    problem, difference = None, None
    try:
        problem = _broken_promise(figure)
        if problem is None and _spread(figure) <= TOLERANCE:
            difference = _between_batch_sizes(figure)
            if not difference <= TOLERANCE:
                problem = "the logits of an image depend on the others in its batch"
    except torch.OutOfMemoryError:  # no fault of the victim's
        raise
    except Exception as error:  # what is examined may raise anything
        problem = " ".join(f"{type(error).__name__}: {error}".split())
    told = problem or "logits differ between batch sizes, of the largest"
    return Check("input_contract", "FAIL" if problem else "PASS", difference, TOLERANCE, told)


def determinism(figure: Figure) -> Check:
    """Two passes agree; else the survivors are attacked again in expectation over what is drawn."""
    spread = _spread(figure)
    if spread <= TOLERANCE:
        told = "logits differ between two passes, of the largest"
        return Check("determinism", "PASS", spread, TOLERANCE, told)
    images, targets = figure.images[figure.robust], figure.targets[figure.robust]
    ways = [Way(margin, figure.eps)]
    found = climb(figure.victim, images, targets, ways, figure.norm, steps=STEPS, passes=PASSES)
    broken = 0
    if len(images):
        drawn = [_logits(figure.victim, found.images[0]) for _ in range(PASSES)]
        broken = int(fooled(torch.stack(drawn).mean(dim=0), targets).sum())
    told = f"passes differ by {spread:.1g}; broken in expectation"
    check = judged("determinism", broken, len(figure.images), told)
    return replace(check, verdict="WARN" if check.verdict == "PASS" else check.verdict)


def drawn_from(figure: Figure) -> list[str]:
    """Names of the global generators that a mere forward pass draws from."""
    before = generators(figure.images.device)
    _logits(figure.victim, figure.images[:1])
    return moved(before, generators(figure.images.device))


def _broken_promise(figure: Figure) -> str | None:
    """What the victim does that no attack can live with."""
    images = figure.images
    for name, given in {
        "the images": images,
        "black images": torch.zeros_like(images[:2]),
        "white images": torch.ones_like(images[:2]),
    }.items():
        handed = given.clone()
        logits = _logits(figure.victim, handed)
        if not torch.equal(handed, given):
            return f"{name} are modified"
        if logits.ndim != 2 or len(logits) != len(given) or logits.shape[1] < 2:
            return f"logits of {len(given)} images are {tuple(logits.shape)}, expected (B, K), K above 1"
        if not bool(logits.isfinite().all()):
            return f"logits of {name} are not finite"
    return None


def _between_batch_sizes(figure: Figure) -> float:
    """How far the logits of one batch are from those of an image alone, two together and the rest."""
    images = figure.images
    parts = [part for part in (images[:1], images[1:3], images[3:]) if len(part)]
    apart = torch.cat([_logits(figure.victim, part) for part in parts])
    return _distance(apart, _logits(figure.victim, images))


def _spread(figure: Figure) -> float:
    """How far two passes over the same images are apart."""
    return _distance(_logits(figure.victim, figure.images), _logits(figure.victim, figure.images))


def _logits(victim: Victim, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = victim(images)
    return logits


def _distance(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the largest logit."""
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))
