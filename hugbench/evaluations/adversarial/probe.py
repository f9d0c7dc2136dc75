"""The card's own gradient attack: short and plain, independent of the attacks that made the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.evaluations.adversarial.attacks import Norm
from hugbench.evaluations.adversarial.losses import Loss
from hugbench.evaluations.adversarial.victim import Victim, fooled, margins

AT_A_TIME = 2**19
"""Pixels in one forward pass: 8,192 digits of 8x8, 170 images of 3x32x32."""


@dataclass(frozen=True)
class Way:
    """One way to attack: which loss, of which logits, how far.

    Attributes:
        loss: is raised.
        radius: of the ball.
        scale, shift: the loss sees scale · logits + shift.
    """

    loss: Loss
    radius: float
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Reached:
    """What W ways came to on B images.

    Attributes:
        fooled: bool (W, B), whether a step was misclassified.
        images: (W, B, C, H, W), the first misclassified step, or else the one with the lowest margin.
        margins: (W, B), of these.
        slopes: (W, B), largest absolute entry of the gradient at the start.
    """

    fooled: Tensor
    images: Tensor
    margins: Tensor
    slopes: Tensor


def climb(
    victim: Victim,
    images: Tensor,
    targets: Tensor,
    ways: Sequence[Way],
    norm: Norm,
    *,
    steps: int,
    stride: float | None = None,
    starts: Tensor | None = None,
    passes: int = 1,
) -> Reached:
    """Projected gradient steps of one length (Madry et al. 2018), all ways side by side.

    Args:
        victim: at scale 1.
        images: float32 (B, C, H, W) in [0, 1].
        targets: int64 (B,).
        ways: at least one.
        norm: of the balls.
        steps: how many; fewer for what is misclassified before.
        stride: length of a step in radii; 2.5 / steps by default, as Madry et al. have it.
        starts: (W, B, C, H, W) inside the balls; the images by default.
        passes: forward passes over which logits and gradients are averaged, for victims that draw
            (expectation over transformation, Athalye et al. 2018).
    """
    if starts is None:
        starts = images.expand(len(ways), *images.shape)
    rows = max(1, AT_A_TIME // (images.shape[1:].numel() * len(ways)))
    walk = _Walk(victim, ways, norm, steps, 2.5 / steps if stride is None else stride, passes)
    parts = [
        walk(part, labels, begin)
        for part, labels, begin in zip(
            torch.split(images, rows),
            torch.split(targets, rows),
            torch.split(starts, rows, dim=1),
            strict=True,
        )
    ]
    return Reached(
        torch.cat([part.fooled for part in parts], dim=1),
        torch.cat([part.images for part in parts], dim=1),
        torch.cat([part.margins for part in parts], dim=1),
        torch.cat([part.slopes for part in parts], dim=1),
    )


def misled(victim: Victim, images: Tensor, targets: Tensor) -> Tensor:
    """Which images the victim misclassifies, bool (B,); any number of images, also none."""
    rows = max(1, AT_A_TIME // images.shape[1:].numel())
    hit = torch.zeros_like(targets, dtype=torch.bool)
    with torch.no_grad():
        for begin in range(0, len(images), rows):
            part = slice(begin, begin + rows)
            hit[part] = fooled(victim(images[part]), targets[part])
    return hit


def project(moved: Tensor, images: Tensor, radius: Tensor | float, norm: Norm) -> Tensor:
    """The nearest images in the balls and then in [0, 1]: (B, C, H, W), `radius` one or (B, 1, 1, 1)."""
    change, radius = moved - images, torch.as_tensor(radius, device=images.device)
    if norm == "Linf":
        change = change.clamp(-radius, radius)
    else:
        length = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
        change = change * (radius / length.clamp_min(1e-12)).clamp_max(1.0)
    return (images + change).clamp(0, 1)


def direction(gradients: Tensor, norm: Norm) -> Tensor:
    """The steepest step of length 1 in the norm; zero where the gradient is zero."""
    if norm == "Linf":
        return torch.sign(gradients)
    largest = gradients.abs().amax(dim=(1, 2, 3), keepdim=True)  # its square may be below what float32 holds
    gradients = gradients / largest.masked_fill(largest == 0, 1.0)
    length = torch.linalg.vector_norm(gradients, dim=(1, 2, 3), keepdim=True)
    unit: Tensor = gradients / length.clamp_min(1e-12)
    return unit


@dataclass(frozen=True)
class _Walk:
    """Ways over images that fit into one forward pass; a row is one way on one image."""

    victim: Victim
    ways: Sequence[Way]
    norm: Norm
    steps: int
    stride: float
    passes: int

    def __call__(self, images: Tensor, targets: Tensor, starts: Tensor) -> Reached:
        count, shape = len(self.ways), (len(self.ways), *images.shape)
        way = torch.arange(count, device=images.device).repeat_interleave(len(images))
        origins, labels = images.repeat(count, 1, 1, 1), targets.repeat(count)
        radii = torch.tensor([found.radius for found in self.ways], device=images.device)[way]
        best, current = starts.flatten(0, 1).clone(), starts.flatten(0, 1)
        lowest = torch.full(labels.shape, torch.inf, device=images.device)
        broken, slopes = torch.zeros_like(labels, dtype=torch.bool), torch.zeros_like(lowest)
        rows = torch.arange(len(labels), device=images.device)
        for step in range(self.steps + 1):
            if not len(rows):
                break
            logits, gradients = self._look(current, labels[rows], way[rows], step < self.steps)
            margin, hit = margins(logits, labels[rows]), fooled(logits, labels[rows])
            better = hit | (margin < lowest[rows])
            best[rows[better]], lowest[rows[better]] = current[better], margin[better]
            broken[rows] = hit
            if step == 0:
                slopes = gradients.abs().amax(dim=(1, 2, 3))
            rows, current, gradients = rows[~hit], current[~hit], gradients[~hit]
            radius = radii[rows].view(-1, 1, 1, 1)
            moved = current + self.stride * radius * direction(gradients, self.norm)
            current = project(moved, origins[rows], radius, self.norm)
        wide = shape[:2]
        return Reached(broken.view(wide), best.view(shape), lowest.view(wide), slopes.view(wide))

    def _look(self, images: Tensor, targets: Tensor, way: Tensor, slope: bool) -> tuple[Tensor, Tensor]:
        """Logits, and the gradients of every way's loss (zero without `slope`), averaged over the passes."""
        counts = torch.bincount(way, minlength=len(self.ways)).tolist()
        total, gradients = torch.zeros((), device=images.device), torch.zeros_like(images)
        for _ in range(self.passes):
            inputs = images.detach().clone().requires_grad_(slope)
            with torch.set_grad_enabled(slope):
                logits = self.victim(inputs)
                if slope and logits.requires_grad:
                    parts = zip(
                        self.ways, torch.split(logits, counts), torch.split(targets, counts), strict=True
                    )
                    losses = [
                        found.loss(found.scale * part + found.shift, labels).sum()
                        for found, part, labels in parts
                        if len(labels)
                    ]
                    gradients += torch.autograd.grad(
                        torch.stack(losses).sum(), inputs, allow_unused=True, materialize_grads=True
                    )[0]
            total = total + logits.detach()
        return total / self.passes, gradients / self.passes
