"""The batches of an epoch: all images of each, or this rank's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.data.augment import Part
from hugbench.data.images import Images, rounds
from hugbench.errors import UserError
from hugbench.suite.schema import Recipe
from hugbench.training.ranks import Ranks


@dataclass(frozen=True)
class Batch:
    """What a process has of a batch of B images.

    Attributes:
        pixels: uint8 (b, C, H, W).
        labels: of the whole batch, int64 (B,).
        part: which images of the batch the pixels are; None for all, in order. Where a recipe mixes
            images, the first is the one before the others in the batch, for them to be mixed with.
    """

    pixels: Tensor
    labels: Tensor
    part: Part | None = None

    @property
    def shared(self) -> bool:
        """Whether there are other processes, which have the other images."""
        return self.part is not None


def batches(
    images: Images, order: Tensor, recipe: Recipe, device: torch.device, ranks: Ranks
) -> Iterator[Batch]:
    """The batches of an epoch, of which each rank fetches its own part only.

    Args:
        images: N of them.
        order: of the epoch, int64, CPU; the same on all ranks.
        recipe: batch_size, drop_last, mixup and cutmix.
        device: where pixels and labels are wanted.
        ranks: who shares a batch.
    """
    if ranks.alone:
        whole = images.batches(recipe.batch_size, device, order, recipe.drop_last)
        yield from (Batch(pixels, labels) for pixels, labels, _ in whole)
        return
    everyone = rounds(len(images), recipe.batch_size, order, recipe.drop_last)
    rows = [_rows(len(indices), bool(recipe.mixup or recipe.cutmix), ranks) for indices in everyone]
    own = [indices[mine] for indices, mine in zip(everyone, rows, strict=True)]
    # All batches but the last, which may be smaller, are equal: so are the parts of a rank.
    fetched = images.batches(len(own[0]), device, torch.cat(own))
    for indices, mine, (pixels, _, _) in zip(everyone, rows, fetched, strict=True):
        labels = images.targets[indices].to(device)
        yield Batch(pixels, labels, Part(len(indices), mine.to(device)))


def _rows(batch: int, mixing: bool, ranks: Ranks) -> Tensor:
    """The places in a batch of what this rank needs of it, int64, CPU."""
    part = ranks.part(batch)
    return torch.arange(part.start - mixing, part.stop) % batch


def check_ranks(recipe: Recipe, images: int, ranks: int) -> None:
    """See to it that every one of several processes has an image of every batch.

    Raises:
        UserError: it has not.
    """
    if recipe.batch_size < ranks:
        raise UserError(
            f"{ranks} processes share a batch",
            key="recipe.batch_size",
            found=recipe.batch_size,
            expected=f"at least {ranks}, or fewer processes",
        )
    if not recipe.drop_last and 0 < images % recipe.batch_size < ranks:
        raise UserError(
            f"{ranks} processes share a batch, and an epoch's last one would hold "
            f"{images % recipe.batch_size} images",
            key="recipe.drop_last",
            found=False,
            expected="true, another batch_size, or fewer processes",
        )
