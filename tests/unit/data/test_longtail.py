"""Class counts of long tails: the published ones, and the released code's loop."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hugbench.data.longtail import by_frequency, class_counts, fitting, kept_counts
from hugbench.errors import UserError
from hugbench.suite.schema import LongTail

ROOT = Path(__file__).resolve().parents[3]
FACTORS = st.one_of(st.floats(1, 60, allow_nan=False), st.sampled_from([1.0, 2.0, 10.0, 49.0, 50.0]))


def tail(factor: float, profile: str = "exponential", **fields: object) -> LongTail:
    return LongTail.model_validate({"imbalance_factor": factor, "profile": profile, **fields})


def ldam(largest: int, classes: int, f: float, profile: str) -> list[int]:
    """As LDAM-DRW's imbalance_cifar.py counts."""
    if profile == "exponential":
        return [int(largest * (f ** (index / (classes - 1.0)))) for index in range(classes)]
    counts = [int(largest) for _ in range(classes // 2)]
    while len(counts) < classes:
        counts.append(int(largest * f))
    return counts


def test_cifar_10_with_factor_100_has_the_papers_counts() -> None:
    expected = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    assert class_counts(5000, 10, tail(100)) == expected
    assert sum(expected) == 12_406


@pytest.mark.parametrize(
    ("largest", "classes", "factor", "total"),
    [
        (5000, 10, 10, 20_431),
        (5000, 10, 50, 13_996),
        (5000, 10, 100, 12_406),
        (500, 100, 10, 19_573),
        (500, 100, 50, 12_608),
        (500, 100, 100, 10_847),
    ],
)
def test_the_totals_of_long_tailed_cifar(largest: int, classes: int, factor: int, total: int) -> None:
    counts = class_counts(largest, classes, tail(factor))
    assert sum(counts) == total
    assert (counts[0], counts[-1]) == (largest, largest // factor)


@pytest.mark.parametrize("profile", ["exponential", "step"])
@pytest.mark.parametrize("factor", [1, 3.7, 10, 20, 50, 100, 200])
@pytest.mark.parametrize(("largest", "classes"), [(5000, 10), (500, 100), (143, 3), (41, 2), (1300, 1000)])
def test_the_counts_are_those_of_the_released_loop(
    largest: int, classes: int, factor: float, profile: str
) -> None:
    expected = ldam(largest, classes, 1 / factor, profile)
    assert class_counts(largest, classes, tail(factor, profile)) == tuple(expected)
    assert expected == sorted(expected, reverse=True)


def test_a_step_over_an_odd_number_of_classes_has_the_rarer_half_larger() -> None:
    assert class_counts(40, 5, tail(10, "step")) == (40, 40, 4, 4, 4)


@given(st.integers(1, 80), st.integers(2, 12), FACTORS, st.sampled_from(["exponential", "step"]), st.data())
def test_max_train_takes_the_largest_tail_that_fits(
    available: int, classes: int, factor: float, profile: str, data: st.DataObject
) -> None:
    spec = tail(factor, profile)
    max_train = data.draw(st.integers(1, available * classes + 5))
    best = None
    for largest in range(1, available + 1):
        if sum(class_counts(largest, classes, spec)) <= max_train:
            best = class_counts(largest, classes, spec)
    if best is None or 0 in best:
        with pytest.raises(UserError, match="would have no training image"):
            kept_counts(available, classes, spec, max_train)
        return
    assert kept_counts(available, classes, spec, max_train) == best
    assert kept_counts(available, classes, spec) == class_counts(available, classes, spec)


def test_an_empty_class_is_refused_with_what_would_do() -> None:
    with pytest.raises(UserError) as caught:
        kept_counts(143, 10, tail(200), where="suite.yaml:3:9")
    assert str(caught.value) == (
        "suite.yaml:3:9: dataset.long_tail.imbalance_factor: the rarest class would have no training image; "
        "found 200.0; expected less than 143, the images that the smallest class can give"
    )
    with pytest.raises(
        UserError, match=r"dataset\.max_train: .*; found 100; expected at least (\d+)"
    ) as told:
        kept_counts(500, 10, tail(50), 100)
    enough = int(str(told.value.expected).split()[2].strip(","))
    assert kept_counts(500, 10, tail(50), enough)[-1] == 1
    with pytest.raises(UserError):
        kept_counts(500, 10, tail(50), enough - 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"imbalance_factor": 0.99},
        {"imbalance_factor": math.inf},
        {"imbalance_factor": "10"},
        {},
        {"imbalance_factor": 10, "profile": "linear"},
        {"imbalance_factor": 10, "seed": 0.5},
        {"imbalance_factor": 10, "classorder": "fixed"},
    ],
)
def test_what_is_no_tail_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LongTail.model_validate(fields)


@pytest.mark.parametrize("profile", ["exponential", "step"])
@pytest.mark.parametrize(("classes", "images"), [(10, 256), (100, 256), (3, 256), (1000, 2000)])
@pytest.mark.parametrize("factor", [1.0, 1.5, 6.0, 50.0, 1e6])
def test_a_sliver_keeps_as_much_of_the_tail_as_leaves_no_class_empty(
    factor: float, classes: int, images: int, profile: str
) -> None:
    asked = tail(factor, profile, class_order="seeded", seed=3)
    kept = fitting(asked, classes, images)
    assert kept.model_copy(update={"imbalance_factor": factor}) == asked
    assert min(kept_counts(5000, classes, kept, images)) >= 1
    assert kept.imbalance_factor <= factor
    if kept.imbalance_factor < factor:
        steeper = tail(kept.imbalance_factor + 1, profile)
        assert sum(class_counts(int(kept.imbalance_factor) + 2, classes, steeper)) > images


def test_the_slivers_of_the_shipped_suites() -> None:
    assert [fitting(tail(factor), 10, 256).imbalance_factor for factor in (10, 50, 100)] == [10, 50, 100]
    assert [fitting(tail(factor), 100, 256).imbalance_factor for factor in (10, 50, 100)] == [5, 5, 5]


def test_too_few_images_for_any_tail_leave_it_flat() -> None:
    assert fitting(tail(10), 100, 30).imbalance_factor == 1


def test_many_medium_and_few_by_their_bounds() -> None:
    groups = by_frequency([101, 100, 20, 19, 5000, 1])
    assert groups == {"many": (0, 4), "medium": (1, 2), "few": (3, 5)}
    assert list(groups) == ["many", "medium", "few"]
    assert by_frequency([7, 7]) == {"few": (0, 1)}


def test_cifar_100_with_factor_100_has_the_known_numbers_of_classes() -> None:
    groups = by_frequency(class_counts(500, 100, tail(100)))
    assert {name: len(labels) for name, labels in groups.items()} == {"many": 35, "medium": 35, "few": 30}


def test_it_needs_no_torch() -> None:
    code = "import sys, hugbench.data.longtail; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
