"""One pass over the test images, clean and corrupted in every way asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hugbench.data.augment import to_float
from hugbench.evaluations.base import Setting
from hugbench.evaluations.corruption.origin import FromFolder, Own
from hugbench.models import Classifier, evaluating

Condition = tuple[str, int]
"""A corruption and its severity."""


def each_condition(
    classifier: Classifier,
    setting: Setting,
    origin: Own | FromFolder,
    conditions: Sequence[Condition],
    use: Callable[[int, Tensor, Tensor], None],
    *,
    first: int = 0,
    after: Callable[[int], None] = lambda images: None,
) -> None:
    """Call `use` with a number of condition, the logits of a batch there and its indices in the split.

    Number 0 is clean, i + 1 is `conditions[i]`. A batch is corrupted in every way before the next is fetched.
    Afterwards the classifier and torch's global generator are as they were.

    Args:
        classifier: a trained one.
        setting: the data and the device.
        origin: where corrupted images come from.
        conditions: which.
        use: takes what there is to know of a batch.
        first: the image to begin with; so many are behind.
        after: is called when a batch has been used in every condition, with the number of images behind.
    """
    images = setting.dataset.test
    left = torch.arange(first, len(images))
    with evaluating(classifier), torch.random.fork_rng(devices=[]), torch.no_grad():
        for pixels, _, indices in images.batches(setting.batch_size, setting.device, left):
            use(0, classifier(to_float(pixels)), indices)
            for number, (kind, severity) in enumerate(conditions, 1):
                corrupted = origin.images(pixels, kind, severity, indices)
                use(number, classifier(to_float(corrupted)), indices)
            after(int(indices[-1]) + 1)
