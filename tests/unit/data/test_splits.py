from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hugbench.data.longtail import class_counts, kept_counts
from hugbench.data.splits import balanced, hold_out, long_tailed
from hugbench.errors import UserError
from hugbench.suite.schema import LongTail

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


TAIL = LongTail(imbalance_factor=10.0)


def tailed(targets: torch.Tensor, classes: int, **fields: object) -> list[int]:
    spec = TAIL.model_copy(update=fields)
    return long_tailed(targets, names([0] * classes), spec).tolist()


@given(st.integers(2, 6), st.integers(30, 60), SEEDS, st.sampled_from(["exponential", "step"]))
def test_a_long_tail_has_its_counts_class_by_class(classes: int, size: int, seed: int, profile: str) -> None:
    sizes = [size + 3 * label for label in range(classes)]
    targets = labels(sizes, seed)
    chosen = tailed(targets, classes, profile=profile, seed=seed)
    assert chosen == sorted(set(chosen))
    spec = TAIL.model_copy(update={"profile": profile})
    found = torch.bincount(targets[chosen], minlength=classes).tolist()
    assert found == list(class_counts(min(sizes), classes, spec))
    assert chosen == tailed(targets, classes, profile=profile, seed=seed)


def test_a_steeper_tail_lies_within_a_flatter_one() -> None:
    targets = labels([50] * 6)
    for order in ("fixed", "seeded"):
        flat, steep, steepest = (
            set(tailed(targets, 6, imbalance_factor=factor, class_order=order, seed=4))
            for factor in (2.0, 10.0, 40.0)
        )
        assert steepest < steep < flat


def test_the_seed_draws_the_images_and_if_asked_the_order_of_the_classes() -> None:
    targets = labels([50] * 6)
    fixed = [tailed(targets, 6, seed=seed) for seed in range(5)]
    assert len(set(map(tuple, fixed))) == 5
    expected = class_counts(50, 6, TAIL)
    orders = set()
    for seed in range(20):
        counts = torch.bincount(targets[tailed(targets, 6, class_order="seeded", seed=seed)]).tolist()
        assert sorted(counts, reverse=True) == list(expected)
        orders.add(tuple(counts))
        assert torch.bincount(targets[tailed(targets, 6, seed=seed)]).tolist() == list(expected)
    assert len(orders) > 10


def test_the_images_of_a_class_do_not_depend_on_how_frequent_others_are() -> None:
    """The two draws are axes of their own: a class's images are the first of one fixed order."""
    targets = labels([50] * 6)
    fixed, seeded = (set(tailed(targets, 6, class_order=order, seed=1)) for order in ("fixed", "seeded"))
    for label in range(6):
        own = set(torch.nonzero(targets == label).flatten().tolist())
        assert (fixed & own) <= (seeded & own) or (seeded & own) <= (fixed & own)


def test_every_image_is_equally_likely_in_the_tail() -> None:
    targets, hits = labels([8, 8]), torch.zeros(16)
    for seed in range(400):
        hits[tailed(targets, 2, imbalance_factor=4.0, seed=seed)] += 1
    assert (hits[targets == 0] == 400).all()
    assert ((hits[targets == 1] - 100).abs() < 5 * 9).all()


def test_a_tail_within_max_train_shrinks_as_a_whole() -> None:
    targets = labels([50] * 4)
    kept = long_tailed(targets, names([50] * 4), TAIL, 60)
    counts = torch.bincount(targets[kept]).tolist()
    assert counts == list(kept_counts(50, 4, TAIL, 60))
    assert sum(counts) <= 60 < sum(class_counts(counts[0] + 1, 4, TAIL))
    assert set(kept.tolist()) < set(tailed(targets, 4))


def test_a_tail_that_empties_a_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"imbalance_factor.*found 10\.0; expected less than 9"):
        long_tailed(labels([40, 9]), ("a", "b"), TAIL)
