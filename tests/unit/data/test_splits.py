from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hugbench.data.splits import balanced, hold_out
from hugbench.errors import UserError

COUNTS = st.lists(st.integers(1, 12), min_size=2, max_size=6)
SEEDS = st.integers(0, 2**31)


def names(counts: list[int]) -> tuple[str, ...]:
    return tuple(f"class {label}" for label in range(len(counts)))


def labels(counts: list[int], seed: int = 0) -> torch.Tensor:
    """Each label as often as asked, in a random order."""
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))]


def quotas(available: list[int], count: int) -> list[int]:
    """One image at a time to the class that has fewest, the first of them, while it has more."""
    given_to = [0] * len(available)
    for _ in range(min(count, sum(available))):
        roomy = [label for label, n in enumerate(available) if given_to[label] < n]
        given_to[min(roomy, key=lambda label: (given_to[label], label))] += 1
    return given_to


@given(COUNTS, st.integers(0, 60), SEEDS)
def test_a_subset_is_as_balanced_as_it_can_be(counts: list[int], extra: int, seed: int) -> None:
    targets, count = labels(counts, seed), len(counts) + extra
    chosen = balanced(targets, names(counts), count, seed, "train")
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert torch.bincount(targets[chosen], minlength=len(counts)).tolist() == quotas(counts, count)
    assert torch.equal(chosen, balanced(targets, names(counts), count, seed, "train"))


@given(COUNTS, st.integers(0, 60), SEEDS)
def test_a_smaller_subset_lies_within_a_larger(counts: list[int], extra: int, seed: int) -> None:
    targets, count = labels(counts), len(counts) + extra
    smaller = balanced(targets, names(counts), count, seed, "test").tolist()
    assert set(smaller) <= set(balanced(targets, names(counts), count + 1, seed, "test").tolist())


def test_no_limit_takes_all_and_fewer_than_one_for_each_class_is_refused() -> None:
    targets = labels([5, 5, 5])
    assert balanced(targets, names([5, 5, 5]), None, 0, "train").tolist() == list(range(15))
    with pytest.raises(UserError, match=r"dataset\.max_test.*found 2; expected at least 3"):
        balanced(targets, names([5, 5, 5]), 2, 0, "test")


def test_seed_and_part_draw_other_images() -> None:
    targets = labels([40, 40])
    drawn = [
        tuple(balanced(targets, ("a", "b"), 20, seed, part).tolist())
        for seed in range(3)
        for part in ("train", "test")
    ]
    assert len(set(drawn)) == 6


def test_every_image_of_a_class_is_equally_likely() -> None:
    targets, hits = labels([8, 8]), torch.zeros(16)
    for seed in range(400):
        hits[balanced(targets, ("a", "b"), 8, seed, "train")] += 1
    assert ((hits - 200).abs() < 5 * 10).all()


@given(COUNTS, st.floats(0, 1, exclude_max=True), SEEDS)
def test_validation_takes_its_fraction_of_every_class(counts: list[int], fraction: float, seed: int) -> None:
    targets = labels(counts, seed)
    expected = [round(fraction * count) for count in counts]
    if any(held == count for held, count in zip(expected, counts, strict=True)):
        with pytest.raises(UserError, match=r"would have no training images"):
            hold_out(targets, names(counts), fraction, seed)
        return
    if fraction and not any(expected):
        with pytest.raises(UserError, match="no image would be held out"):
            hold_out(targets, names(counts), fraction, seed)
        return
    left, held = hold_out(targets, names(counts), fraction, seed)
    assert sorted(left.tolist() + held.tolist()) == list(range(len(targets)))
    assert left.tolist() == sorted(left.tolist())
    assert held.tolist() == sorted(held.tolist())
    assert torch.bincount(targets[held], minlength=len(counts)).tolist() == expected
    assert torch.equal(held, hold_out(targets, names(counts), fraction, seed)[1])


def test_a_class_that_training_would_lose_is_named() -> None:
    with pytest.raises(UserError, match=r"'class 1'.*dataset|dataset\.validation.*'class 1'") as caught:
        hold_out(labels([10, 1]), names([10, 1]), 0.6, 0)
    assert "1 images are all it has" in str(caught.value)


def test_other_seeds_hold_out_other_images() -> None:
    targets = labels([30, 30])
    assert len({tuple(hold_out(targets, ("a", "b"), 0.3, seed)[1].tolist()) for seed in range(5)}) == 5
