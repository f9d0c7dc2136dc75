from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hugbench.results.order import longest_first, makespan
from hugbench.results.progress import Found, Survey
from hugbench.suite.plan import PlannedRun
from tests.unit.results.timed import plan_of, ran

PAIRED = "[{adversarial: {attacks: [fgsm]}}, accuracy]"


def named(runs: Sequence[Found]) -> list[str]:
    return [f"{found.planned.label} {found.planned.run.seed}" for found in runs]


def timed(runs: Sequence[Found], seconds: Callable[[PlannedRun], float | None]) -> list[Found]:
    return [found._replace(seconds=seconds(found.planned)) for found in runs]


@pytest.fixture
def found(tmp_path: Path) -> tuple[Found, ...]:
    return Survey(plan_of(tmp_path, criteria="[cross_entropy, hug, normface]"), tmp_path).look()


def test_alike_runs_stay_as_they_are(found: tuple[Found, ...]) -> None:
    assert longest_first(found) == list(found)
    assert longest_first(timed(found, lambda planned: 3.0)) == timed(found, lambda planned: 3.0)


def test_the_longest_comes_first(found: tuple[Found, ...]) -> None:
    order = longest_first(
        timed(found, lambda p: {"cross_entropy": 1.0, "hug": 3.0, "normface": 2.0}[p.label])
    )
    assert named(order) == [
        "hug 0", "hug 1", "normface 0", "normface 1", "cross_entropy 0", "cross_entropy 1",
    ]  # fmt: skip


def test_what_is_in_training_then_what_is_unknown_comes_first(found: tuple[Found, ...]) -> None:
    runs = timed(found, lambda p: {"cross_entropy": 1.0, "hug": 3.0, "normface": None}[p.label])
    runs[3] = runs[3]._replace(state="training", epoch=9, seconds=0.5)
    assert named(longest_first(runs))[:3] == ["cross_entropy 1", "normface 0", "normface 1"]


def test_where_nothing_is_known_the_most_epochs_come_first(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, recipe="{epochs: [2, 9, 5], batch_size: 64, lr: 0.1}", seeds="[0]")
    order = longest_first(Survey(plan, tmp_path / "results").look())
    assert [run.planned.run.epochs for run in order] == [9, 9, 5, 5, 2, 2]


class TestBaselines:
    """Runs that are looked at beside the baseline's model wait for it."""

    @pytest.fixture
    def found(self, tmp_path: Path) -> tuple[Found, ...]:
        plan = plan_of(tmp_path, criteria="[cross_entropy, hug, normface]", evaluations=PAIRED)
        return Survey(plan, tmp_path).look()

    def test_the_baseline_comes_just_before_the_first_of_them(self, found: tuple[Found, ...]) -> None:
        lengths = {"hug 1": 9.0, "normface 1": 7.0, "normface 0": 5.0}
        order = longest_first(timed(found, lambda p: lengths.get(f"{p.label} {p.run.seed}", 1.0)))
        assert named(order) == [
            "cross_entropy 1", "hug 1", "normface 1", "cross_entropy 0", "normface 0", "hug 0",
        ]  # fmt: skip

    def test_also_before_one_in_training(self, found: tuple[Found, ...]) -> None:
        runs = timed(found, lambda p: 1.0)
        runs[4] = runs[4]._replace(state="training")
        assert named(longest_first(runs))[:2] == ["cross_entropy 1", "hug 1"]

    @pytest.mark.parametrize("seed", range(20))
    def test_whatever_the_lengths(self, found: tuple[Found, ...], seed: int) -> None:
        draw = random.Random(seed)
        runs = [
            each._replace(
                seconds=draw.choice([None, 1.0, draw.random()]), state=draw.choice(["training", "pending"])
            )
            for each in found
        ]
        order = [each.planned.run.run_id for each in longest_first(runs)]
        for each in runs:
            if (reference := each.planned.reference) is not None:
                assert order.index(reference.run_id) < order.index(each.planned.run.run_id)

    def test_not_without_a_paired_evaluation(self, tmp_path: Path) -> None:
        found = Survey(plan_of(tmp_path), tmp_path).look()
        order = longest_first(timed(found, lambda p: 1.0 + (p.label == "hug")))
        assert named(order) == ["hug 0", "hug 1", "cross_entropy 0", "cross_entropy 1"]


@pytest.mark.parametrize(
    ("seconds", "workers", "expected"),
    [
        ([], 3, 0.0),
        ([5.0], 3, 5.0),
        ([1.0, 2.0, 3.0], 1, 6.0),
        ([1.0, 2.0, 3.0], 2, 3.0),
        ([3.0, 3.0, 2.0, 2.0, 2.0], 2, 7.0),
        ([4.0, 1.0, 1.0, 1.0, 1.0], 9, 4.0),
    ],
)
def test_makespan(seconds: list[float], workers: int, expected: float) -> None:
    assert makespan(seconds, workers) == expected


def in_turn(seconds: Sequence[float], workers: int) -> float:
    """When the last ends if each starts, in this order, as soon as any worker is free."""
    free = [0.0] * workers
    for length in seconds:
        first = free.index(min(free))
        free[first] += length
    return max(free)


def test_longest_first_ends_sooner_than_the_plan_s_order(tmp_path: Path) -> None:
    recipe = "{epochs: [10, 11, 20, 30, 400], batch_size: 64, lr: 0.1}"
    plan = plan_of(tmp_path, criteria="[cross_entropy]", recipe=recipe, seeds="[0]")
    ran(plan, plan.runs[0], tmp_path / "results", 1.0, took=0.0)
    found = [run for run in Survey(plan, tmp_path / "results").look() if run.state != "done"]
    planned, ordered = ([run.planned.run.epochs for run in runs] for runs in (found, longest_first(found)))
    assert planned == [11, 20, 30, 400]
    assert in_turn(planned, 2) == 420.0
    assert in_turn(ordered, 2) == makespan(ordered, 2) == 400.0


@pytest.mark.parametrize("seed", range(5))
def test_on_many_runs_of_skewed_lengths(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    plan = plan_of(tmp_path, seeds=str(list(range(50))))
    lengths = {planned.run.run_id: draw.paretovariate(1.1) for planned in plan.runs}
    found = timed(Survey(plan, tmp_path / "results").look(), lambda planned: lengths[planned.run.run_id])
    best = max(max(lengths.values()), sum(lengths.values()) / 4)
    in_plan, ordered = (
        in_turn([run.seconds or 0.0 for run in runs], 4) for runs in (found, longest_first(found))
    )
    assert best <= ordered <= min(4 / 3 * best, in_plan)
    assert ordered == pytest.approx(makespan(lengths.values(), 4))
