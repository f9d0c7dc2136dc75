from __future__ import annotations

import math

import pytest
import torch

from hugbench.training.sampling import class_balanced

SIZES = (200, 40, 0, 7, 1)


def targets(seed: int = 0) -> torch.Tensor:
    """Labels of a long-tailed set in a random order; class 2 has no images."""
    labels = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def drawn(seed: int) -> torch.Tensor:
    return class_balanced(targets(), torch.Generator().manual_seed(seed))


def test_an_epoch_has_as_many_images_as_before_all_of_them_from_the_set() -> None:
    found = drawn(0)
    assert found.dtype == torch.int64
    assert found.shape == (sum(SIZES),)
    assert 0 <= int(found.min()) <= int(found.max()) < sum(SIZES)


def test_every_class_and_within_it_every_image_is_equally_likely() -> None:
    epochs, count = 400, sum(SIZES)
    hits = torch.zeros(count)
    for seed in range(epochs):
        hits += torch.bincount(drawn(seed), minlength=count)
    draws, present = epochs * count, 4
    for label, size in enumerate(SIZES):
        own = hits[targets() == label]
        if not size:
            continue
        share = 1 / present
        deviation = math.sqrt(draws * share * (1 - share))
        assert abs(float(own.sum()) - draws * share) < 5 * deviation
        share /= size
        deviation = math.sqrt(draws * share * (1 - share))
        assert float((own - draws * share).abs().max()) < 5 * deviation


def test_the_generator_decides() -> None:
    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    random = torch.get_rng_state()
    drawn(3)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("labels", [[0], [4, 4, 4]])
def test_one_class_alone(labels: list[int]) -> None:
    found = class_balanced(torch.tensor(labels), torch.Generator().manual_seed(0))
    assert set(found.tolist()) <= set(range(len(labels)))
    assert len(found) == len(labels)
