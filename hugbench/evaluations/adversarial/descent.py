"""Steps along the gradient inside a ball: FGSM, PGD, and PGD with momentum, for any loss.

As torchattacks' FGSM, PGD, PGDL2, MIFGSM, NIFGSM and UPGD at equal settings, but for three things: an
image that is misclassified takes no further steps and leaves the batch; a gradient of 0 moves nothing,
where theirs divide 0 by 0; and the margin is not clamped at a logit of 0, which hides every attack
from logits below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hugbench.evaluations.adversarial.ball import lengths, shaped
from hugbench.evaluations.adversarial.catalogue import Norm
from hugbench.evaluations.adversarial.losses import Loss
from hugbench.evaluations.adversarial.victim import fooled


@dataclass(frozen=True)
class Descent:
    """How to walk.

    Attributes:
        loss: to be increased.
        norm: of the ball and of the steps.
        eps: radius.
        steps: how many.
        length: of a step, in the units of eps.
        random_start: from a random place of the ball, else from the image.
        decay: how much of the last direction is kept; 0 for no momentum.
        nesterov: look at the gradient where momentum leads.
        eot: gradients that are averaged.
    """

    loss: Loss
    norm: Norm
    eps: float
    steps: int
    length: float
    random_start: bool = False
    decay: float = 0.0
    nesterov: bool = False
    eot: int = 1

    def __call__(self, victim: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """The first misclassified image on the way, or else its end, (B, C, H, W).

        Draws from torch's global generator.

        Args:
            victim: images to logits; gradients must be enabled.
            images: contiguous (B, C, H, W) in [0, 1].
            targets: int64 (B,).
        """
        found = self._start(images)
        left = torch.arange(len(images), device=images.device)
        now, momentum = found, torch.zeros_like(images)
        for _ in range(self.steps):
            ahead = now + self.decay * self.length * momentum if self.nesterov else now
            gradient, hit = self._gradient(victim, ahead, now, targets[left])
            if hit.any():
                found[left[hit]] = now[hit]
                kept = ~hit
                left, now, momentum, gradient = left[kept], now[kept], momentum[kept], gradient[kept]
                if not len(left):
                    return found
            momentum = self._momentum(momentum, gradient)
            now = self._back(now + self.length * direction(momentum, self.norm), images[left])
        found[left] = now
        return found

    def _start(self, images: Tensor) -> Tensor:
        if not self.random_start:
            return images.clone()
        if self.norm == "Linf":
            delta = torch.empty_like(images).uniform_(-self.eps, self.eps)
        else:
            delta = torch.empty_like(images).normal_()
            radius = torch.empty(len(images), device=images.device).uniform_(0, self.eps)
            delta = delta * shaped(radius / lengths(delta, "L2"), images)
        return (images + delta).clamp(0, 1)

    def _gradient(
        self, victim: nn.Module, ahead: Tensor, now: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss's gradient at `ahead`, and which of the images `now` are misclassified."""
        total = torch.zeros_like(ahead)
        hit = torch.zeros(len(now), dtype=torch.bool, device=now.device)
        for _ in range(self.eot):
            at = ahead.detach().requires_grad_()
            logits = victim(at)
            hit = fooled(logits.detach(), targets)
            if ahead is not now:
                with torch.no_grad():
                    hit = fooled(victim(now), targets)
            if hit.all():
                return total, hit
            total += torch.autograd.grad(self.loss(logits, targets).sum(), at)[0]
        return total / self.eot, hit

    def _momentum(self, momentum: Tensor, gradient: Tensor) -> Tensor:
        if not self.decay:
            return gradient
        return self.decay * momentum + gradient / _above_zero(gradient.abs().flatten(1).mean(dim=1), gradient)

    def _back(self, moved: Tensor, images: Tensor) -> Tensor:
        delta = moved - images
        if self.norm == "Linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * shaped((self.eps / lengths(delta, "L2")).clamp(max=1), delta)
        return (images + delta).clamp(0, 1).detach()


def direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The step of length 1 that the gradient calls for: its sign, or it over its L2 length; 0 for 0."""
    if norm == "Linf":
        return gradient.sign()
    return gradient / _above_zero(lengths(gradient, "L2"), gradient)


def _above_zero(values: Tensor, like: Tensor) -> Tensor:
    return shaped(values, like).clamp(min=torch.finfo(like.dtype).tiny)
