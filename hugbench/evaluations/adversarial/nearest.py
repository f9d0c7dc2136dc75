"""Attacks that look for the nearest misclassified image in L2: DeepFool and Carlini-Wagner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hugbench.evaluations.adversarial.ball import lengths, shaped
from hugbench.evaluations.adversarial.losses import margin
from hugbench.evaluations.adversarial.victim import fooled


@dataclass(frozen=True)
class DeepFool:
    """Steps to the nearest of the decision boundaries, each taken for a plane at the current image.

    Moosavi-Dezfooli, Fawzi, Frossard, CVPR 2016, arXiv 1511.04599, algorithm 2. The steps are those of
    torchattacks, which goes image by image and class by class, where the box is far; values at its edge
    that a step would push outside stay, and do not count in how steep the way is (there torchattacks
    creeps up to the boundary and never crosses it).

    Attributes:
        steps: at most.
        overshoot: by which share each step is longer than the way to the plane.
        candidates: how many of the likeliest wrong classes are looked at.
    """

    steps: int
    overshoot: float
    candidates: int

    def __call__(self, victim: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """The first misclassified image on the way, or else its end, (B, C, H, W)."""
        found = images.clone()
        left, now = torch.arange(len(images), device=images.device), images
        for _ in range(self.steps):
            at = now.detach().requires_grad_()
            logits = victim(at)
            kept = ~fooled(logits.detach(), targets[left])
            found[left] = now
            if not kept.any():
                return found
            step = self._step(logits, at, targets[left])
            left, now = left[kept], (now + (1 + self.overshoot) * step).clamp(0, 1)[kept]
        found[left] = now
        return found

    def _step(self, logits: Tensor, at: Tensor, targets: Tensor) -> Tensor:
        """The shortest way to one of the planes, (B, C, H, W); 0 where no gradient shows one."""
        own = logits.gather(1, targets.unsqueeze(1))
        others = logits.detach().scatter(1, targets.unsqueeze(1), -torch.inf)
        rivals = others.topk(min(self.candidates, logits.shape[1] - 1), dim=1).indices
        gaps = own - logits.gather(1, rivals)
        shortest = torch.full((len(at),), torch.inf, dtype=torch.float64, device=at.device)
        step = torch.zeros_like(at)
        for place in range(gaps.shape[1]):
            last = place + 1 == gaps.shape[1]
            normal = -torch.autograd.grad(gaps[:, place].sum(), at, retain_graph=not last)[0]
            blocked = ((at <= 0) & (normal < 0)) | ((at >= 1) & (normal > 0))
            normal = normal.masked_fill(blocked.detach(), 0)
            steepness = lengths(normal, "L2")
            distance = gaps[:, place].detach().abs().double() / steepness
            nearer = distance < shortest
            shortest = torch.where(nearer, distance, shortest)
            way = shaped(torch.where(nearer, distance / steepness, 0.0), normal) * normal
            step = torch.where(shaped(nearer, normal).bool(), way, step)
        return step


@dataclass(frozen=True)
class CarliniWagner:
    """Least |delta|^2 + c max(margin, 0), by Adam, with a search for c; Carlini, Wagner, arXiv 1608.04644.

    The margin is a share of the clean image's, so nothing depends on the scale of the logits or on a
    shift (torchattacks' clamps the best other logit at 0). The box is kept by projection, the paper's
    first alternative to its change of variables, in which values at exactly 0 and 1 never move. Every
    image has its own c and stops by itself, once it is misclassified within eps.

    Attributes:
        eps: radius that is near enough, and the unit of lengths.
        steps: of Adam for each c.
        searches: how many values of c.
        constant: the first c, in units of eps^2.
        lr: length of the first step, as a fraction of eps.
    """

    eps: float
    steps: int
    searches: int
    constant: float
    lr: float

    def __call__(self, victim: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """The nearest misclassified images found, else the clean ones, (B, C, H, W)."""
        found, nearest = images.clone(), images.new_full((len(images),), torch.inf).double()
        with torch.no_grad():
            unit = -margin(victim(images), targets)
        low, high = torch.zeros_like(unit), torch.full_like(unit, torch.inf)
        weight = torch.full_like(unit, self.constant * self.eps**2)
        for _ in range(self.searches):
            left = (nearest > self.eps).nonzero().flatten()
            if not len(left):
                break
            nearby, distance = self._search(victim, images[left], targets[left], weight[left], unit[left])
            closer = distance < nearest[left]
            found[left[closer]], nearest[left[closer]] = nearby[closer], distance[closer]
            reached = distance.isfinite()
            low[left] = torch.where(reached, low[left], weight[left])
            high[left] = torch.where(reached, weight[left], high[left])
            weight = torch.where(high.isinf(), low * 10, (low + high) / 2)
        return found

    def _search(
        self, victim: nn.Module, images: Tensor, targets: Tensor, weight: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The nearest misclassified image of each for its c, and its distance (infinite where none)."""
        found = images.clone()
        nearest = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
        left = torch.arange(len(images), device=images.device)
        delta, mean, square = (torch.zeros_like(images) for _ in range(3))
        rate = self.lr * self.eps / images[0].numel() ** 0.5
        for step in range(1, self.steps + 1):
            at = (images[left] + delta).requires_grad_()
            short = margin(victim(at), targets[left])  # 0 at the boundary, above it once misclassified
            length = lengths(delta, "L2")
            closer = (short.detach() > 0) & (length < nearest[left])
            found[left[closer]], nearest[left[closer]] = at.detach()[closer], length[closer]
            missing = ((-short / unit[left]).clamp(min=0) * weight[left]).sum()
            gradient = torch.autograd.grad(missing, at)[0] + 2 * delta
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient.square()
            ahead = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-12)
            delta = (images[left] + delta - rate * ahead).clamp(0, 1) - images[left]
            kept = nearest[left] > self.eps
            if not kept.any():
                break
            left, delta, mean, square = left[kept], delta[kept], mean[kept], square[kept]
        return found, nearest
