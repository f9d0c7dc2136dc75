"""The statistics of many comparisons at once against those of one."""

from __future__ import annotations

import random

import pytest

from hugbench.results.batch import mean_intervals, paired_differences
from hugbench.results.statistics import mean_interval, paired_difference


def same(found: dict[str, float | None], known: dict[str, float | None]) -> None:
    for name, value in known.items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-15)), name


def test_many_intervals_are_those_of_each() -> None:
    draw = random.Random(0)
    groups = [[draw.gauss(0.5, 0.1) for _ in range(draw.randint(1, 7))] for _ in range(60)]
    groups += [[0.1] * 3, [0.0], [0.7, 0.7]]
    for found, values in zip(mean_intervals(groups), groups, strict=True):
        same(vars(found), vars(mean_interval(values)))


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 6, 12, 13, 31])
def test_many_differences_are_those_of_each(seeds: int) -> None:
    draw = random.Random(seeds)

    def values() -> dict[int, float]:
        return {seed: round(draw.gauss(0.5, 0.01), 3) for seed in range(seeds)}

    base = values()
    pairs = [(values(), base) for _ in range(12)]
    pairs += [
        (base, base),
        ({seed: value + 0.01 for seed, value in base.items()}, base),  # equal but for rounding
        ({0: 0.6, 99: 0.1}, base),  # one seed shared
        ({99: 0.1}, base),  # none
    ]
    for found, (first, second) in zip(paired_differences(pairs), pairs, strict=True):
        known = paired_difference(first, second)
        assert found.note == known.note
        assert (found.seeds, found.test) == (known.seeds, known.test)
        numbers = ("mean", "low", "high", "p_value", "sign_flip", "std")
        same(
            {name: getattr(found, name) for name in numbers}, {name: getattr(known, name) for name in numbers}
        )


def test_nothing_of_nothing() -> None:
    assert mean_intervals([]) == []
    assert paired_differences([]) == []
