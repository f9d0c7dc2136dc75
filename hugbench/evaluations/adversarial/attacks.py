"""The attacks that a suite can name, and what each takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hugbench.evaluations.adversarial import guard
from hugbench.evaluations.adversarial.arguments import Steps
from hugbench.evaluations.adversarial.ball import inside
from hugbench.evaluations.adversarial.catalogue import KINDS, Norm, arguments_of
from hugbench.evaluations.adversarial.descent import Descent
from hugbench.evaluations.adversarial.losses import Loss, cross_entropy, dlr, margin
from hugbench.evaluations.adversarial.nearest import CarliniWagner, DeepFool
from hugbench.evaluations.adversarial.victim import Victim, fooled, margins

__all__ = ["Attack", "Norm"]

BEYOND = frozenset({"fab", "fab_t", "cw", "deepfool"})
"""Attacks that look for the nearest misclassified image, wherever it lies."""


@dataclass(frozen=True)
class Attack:
    """One attack with all its arguments but eps: hashable by `identity`, callable on a batch.

    Attributes:
        name: as a suite names it, e.g. apgd_ce.
        norm: of the ball.
        arguments: of the attack; defaults are filled in.
        scale: what the victim's logits are multiplied with while it is attacked.

    Raises:
        UserError: unknown attack, norm or arguments; a scale that is not positive.
    """

    name: str
    norm: Norm
    arguments: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", arguments_of(self.name, self.norm, self.arguments))
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"scale: expected a positive number, found {self.scale}")

    @property
    def identity(self) -> str:
        """Canonical text of all of it: equal for equal attacks, used in the ledger."""
        whole = {**vars(self), "scale": float(self.scale)}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"))

    def __hash__(self) -> int:
        return hash(self.identity)

    def __call__(self, victim: Victim, images: Tensor, targets: Tensor, eps: float, *, seed: int) -> Tensor:
        """Adversarial images: inside the ball of radius eps around the images, and in [0, 1], both asserted.

        Of all that the attack looks at, for each image a misclassified one, or else the end of the try
        that came nearest to one. An image that is misclassified as it is comes back unchanged.
        Deterministic given its arguments; torch's generators, modes and gradients are as before.

        Args:
            victim: at scale 1; attacked at `scale`.
            images: float32 (B, C, H, W) in [0, 1], on the victim's device.
            targets: places among the victim's classes, int64 (B,).
            eps: radius, in the units of images in [0, 1].
            seed: of whatever the attack draws.

        Raises:
            ValueError: images, targets or eps are not that.
            AttackError: the attack left the ball, or gave NaN.
        """
        _check(victim, images, targets, eps)
        if not len(images):
            return images.clone()
        with guard.undisturbed(victim, seed):
            served = guard.Served(victim.scaled(victim.scale * self.scale))
            clean, wanted = images.detach().clone(memory_format=torch.contiguous_format), targets.clone()
            runs = self._runs(served, eps, victim.num_classes)
            return self._nearest_miss(served, runs, clean, wanted, eps)

    def _nearest_miss(
        self, served: guard.Served, runs: list[guard.Run], images: Tensor, targets: Tensor, eps: float
    ) -> Tensor:
        """The images of smallest margin over runs; each run attacks those that the earlier ones left."""
        with torch.no_grad():
            logits = served(images)
        smallest, best = margins(logits, targets), images.clone()
        left = (~fooled(logits, targets)).nonzero().flatten()
        for run in runs:
            if not len(left):
                break
            tried = run(images[left], targets[left]).detach()
            found = inside(tried, images[left], eps, self.norm, beyond=self.name in BEYOND)
            with torch.no_grad():
                logits = served(found)
            reached, hit = margins(logits, targets[left]), fooled(logits, targets[left])
            better = hit | (reached < smallest[left])
            best[left[better]], smallest[left[better]] = found[better], reached[better]
            left = left[~hit]
        return best

    def _runs(self, served: guard.Served, eps: float, classes: int) -> list[guard.Run]:
        given = self.arguments
        match self.name:
            case "apgd_ce":
                return guard.apgd(served, self.norm, eps, given, "ce")
            case "apgd_dlr":
                return guard.apgd(served, self.norm, eps, given, "dlr")
            case "apgd_t":
                return guard.apgd_t(served, self.norm, eps, given, classes)
            case "fab":
                return guard.fab(served, self.norm, eps, given)
            case "fab_t":
                return guard.fab_t(served, self.norm, eps, given, classes)
            case "square":
                return guard.square(served, self.norm, eps, given)
            case "cw":
                return [partial(CarliniWagner(eps, **given), served)]
            case "deepfool":
                return [partial(DeepFool(**given), served)]
            case _:
                return [partial(self._descent(eps), served)] * given.get("restarts", 1)

    def _descent(self, eps: float) -> Descent:
        if self.name == "fgsm":
            return Descent(cross_entropy, self.norm, eps, steps=1, length=eps)
        model = KINDS[self.name].takes.model_validate(self.arguments)
        assert isinstance(model, Steps)
        return Descent(
            self._loss(),
            self.norm,
            eps,
            steps=model.steps,
            length=model.length * eps,
            random_start=self.arguments.get("random_start", False),
            decay=self.arguments.get("decay", 0.0),
            nesterov=self.name == "nifgsm",
            eot=model.eot,
        )

    def _loss(self) -> Loss:
        return {"upgd_margin": margin, "upgd_dlr": dlr}.get(self.name, cross_entropy)


def _check(victim: Victim, images: Tensor, targets: Tensor, eps: float) -> None:
    """The contract of what is attacked."""
    if images.ndim != 4 or images.dtype != torch.float32:
        raise ValueError(f"images: expected float32 (B, C, H, W), found {images.dtype} {tuple(images.shape)}")
    if targets.shape != images.shape[:1] or targets.dtype != torch.int64:
        raise ValueError(
            f"targets: expected int64 ({len(images)},), found {targets.dtype} {tuple(targets.shape)}"
        )
    if not 0 < eps < float("inf"):
        raise ValueError(f"eps: expected a positive number, found {eps}")
    if victim.num_classes < 2:
        raise ValueError(f"victim: expected at least 2 classes in play, found {victim.num_classes}")
    if not len(images):
        return
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images: expected values in [0, 1], found [{low:g}, {high:g}]")
    if int(targets.min()) < 0 or int(targets.max()) >= victim.num_classes:
        raise ValueError(
            f"targets: expected places in [0, {victim.num_classes}), "
            f"found [{int(targets.min())}, {int(targets.max())}]"
        )
