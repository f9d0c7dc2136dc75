"""Which images are attacked, and which of them a card examines: as many of each class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.data.augment import to_float
from hugbench.data.images import Images
from hugbench.evaluations.adversarial.victim import Victim
from hugbench.seeding import generator


@dataclass(frozen=True)
class Sample:
    """Images of the classes in play to choose scales by and to examine figures on, in memory."""

    indices: Tensor
    images: Tensor
    targets: Tensor

    @classmethod
    def of(
        cls, victim: Victim, images: Images, indices: Tensor, count: int, seed: int, device: torch.device
    ) -> Sample:
        """As many of each class, among the images at `indices`; targets are places among the classes."""
        classes = victim.classes
        if classes is not None:
            indices = indices[torch.isin(images.targets[indices], classes)]
        chosen = indices[balanced(images.targets[indices], count, seed)]
        if not len(chosen):
            return cls(chosen, torch.empty(0, *images.shape, device=device), chosen)
        with torch.random.fork_rng(devices=[]):
            pixels, labels, _ = next(images.batches(len(chosen), device, chosen))
        return cls(chosen, to_float(pixels), victim.place(labels))

    def among(self, indices: Tensor) -> Tensor:
        """Where its images stand among `indices` of the split, which are ascending and hold them all."""
        return torch.searchsorted(indices, self.indices)


def balanced(targets: Tensor, count: int | None, seed: int) -> Tensor:
    """Places of at most `count` labels, ascending: of each class as many as the others, or one more.

    Which classes have one more, or have any where there are fewer images than classes, is drawn, too: in a
    long tail the first classes are the easiest.

    Args:
        targets: labels, int64 (N,).
        count: how many; None for all.
        seed: of the draw.
    """
    if count is None or count >= len(targets):
        return torch.arange(len(targets))
    shuffled = torch.randperm(len(targets), generator=generator(seed, "adversarial", "images"))
    by_class = torch.argsort(targets[shuffled], stable=True)
    labels = targets[shuffled[by_class]]
    rank = torch.empty_like(by_class)
    rank[by_class] = torch.arange(len(labels)) - torch.searchsorted(labels, labels)
    order = torch.argsort(rank, stable=True)
    return shuffled[order[:count]].sort().values
