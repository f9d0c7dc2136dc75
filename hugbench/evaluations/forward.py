"""One pass over a split in evaluation mode, which leaves the classifier and all generators as they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hugbench.data.augment import to_float
from hugbench.data.images import Images
from hugbench.evaluations.base import Setting
from hugbench.models import Classifier, evaluating


@dataclass(frozen=True)
class Outputs:
    """What a classifier says of N images, on the CPU.

    Attributes:
        features: float32 (N, d).
        logits: float32 (N, num_classes).
        targets: int64 (N,).
        indices: int64 (N,), where in the split each image stands.
    """

    features: Tensor
    logits: Tensor
    targets: Tensor
    indices: Tensor


def collect(classifier: Classifier, images: Images, setting: Setting) -> Outputs:
    """Features and logits of every image of a split, in the order of the split.

    Args:
        classifier: on `setting.device`; afterwards as it was.
        images: at least one.
        setting: where, and how many images at a time.

    Raises:
        ValueError: the split is empty.
    """
    if not len(images):
        raise ValueError("images: expected at least one, found none")
    batches: list[tuple[Tensor, ...]] = []

    def keep(features: Tensor, targets: Tensor, indices: Tensor) -> None:
        logits = classifier.criterion.logits(features)
        batches.append((features.float().cpu(), logits.float().cpu(), targets.cpu(), indices))

    each_batch(classifier, images, setting, keep)
    return Outputs(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def each_batch(
    classifier: Classifier,
    images: Images,
    setting: Setting,
    use: Callable[[Tensor, Tensor, Tensor], None],
) -> None:
    """Call `use` with features (on the device), targets (on the device) and indices of every batch.

    For what needs no memory of every image. Afterwards the parts of the classifier are in the mode
    they were in, also if something raises, and torch's global generator stands where it stood.
    """
    with evaluating(classifier), torch.random.fork_rng(devices=[]), torch.no_grad():
        for pixels, targets, indices in images.batches(setting.batch_size, setting.device):
            use(classifier.features(to_float(pixels)), targets, indices)
