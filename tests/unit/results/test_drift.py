"""The rule of a reference: how often it cries wolf, what it catches, and what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from hugbench.results.cells import Cells
from hugbench.results.drift import ALPHA, Change, drift

METRICS = ("accuracy", *(f"number_{place}.accuracy" for place in range(39)))


def row(criterion: str, metric: str, seed: int, value: float | None, **changes: object) -> dict[str, object]:
    return {
        "dataset": "digits",
        "backbone": "test_resnet",
        "protocol": "standard",
        "variant": "",
        "evaluation": "accuracy",
        "metric": metric,
        "condition": "clean",
        "severity": None,
        "experience": None,
        "epoch": None,
        "subset": "all",
        "criterion": criterion,
        "seed": seed,
        "value": value,
        "n": 2000,
        **changes,
    }


def cells(rows: Sequence[dict[str, object]]) -> Cells:
    found = Cells()
    for each in rows:
        found.add(each)
    return found


def draw(
    rng: np.random.Generator,
    spreads: Sequence[float],
    *,
    seeds: int = 3,
    metrics: int = 40,
    alike: float = 0.0,
) -> Cells:
    """Trainings of three criteria, each seed with noise of its own; `alike`: correlation of the metrics."""
    rows = []
    for criterion, spread in zip("abc", spreads, strict=True):
        luck = math.sqrt(alike) * rng.normal(size=seeds)
        for metric in METRICS[:metrics]:
            values = 0.85 + spread * (luck + math.sqrt(1 - alike) * rng.normal(size=seeds))
            rows += [row(criterion, metric, seed, float(value)) for seed, value in enumerate(values)]
    return cells(rows)


def planted(table: Cells, change: float) -> Cells:
    """The accuracy of criterion a changed."""
    (quantity,) = (found for found in table.cells if found.metric == "accuracy")
    cell = table.cells[quantity]["a"]
    table.cells[quantity]["a"] = {seed: value + change for seed, value in cell.items()}
    return table


def share(metric: str) -> bool:
    return metric.endswith("accuracy")


def judged(reference: Cells, new: Cells) -> list[Change]:
    return drift(reference, new, share)


def accuracy_of(changes: list[Change], criterion: str = "a") -> Change:
    (found,) = (c for c in changes if c.criterion == criterion and c.quantity.metric == "accuracy")
    return found


def rate(draws: int, spreads: Sequence[float], change: float = 0.0, **options: object) -> tuple[float, float]:
    """How often anything moved, and how often the accuracy of a did, over trainings of the same code twice."""
    rng = np.random.default_rng(0)
    anything = caught = 0
    for _ in range(draws):
        reference, new = (draw(rng, spreads, **options) for _ in range(2))  # type: ignore[arg-type]
        changes = judged(reference, planted(new, change) if change else new)
        anything += any(found.moved for found in changes)
        caught += accuracy_of(changes).moved
    return anything / draws, caught / draws


@pytest.mark.parametrize(
    ("spreads", "alike", "most"),
    [
        ((0.005, 0.005, 0.005), 0.0, 0.02),  # about what the images explain
        ((0.02, 0.02, 0.02), 0.0, 0.05),  # far more
        ((0.02, 0.02, 0.02), 0.8, 0.05),  # and the metrics of a run go together
        ((0.005, 0.005, 0.015), 0.0, 0.07),  # one criterion is noisier than the others
        ((0.01, 0.02, 0.03), 0.0, 0.07),
    ],
)
def test_the_same_code_again_rarely_moves(spreads: tuple[float, ...], alike: float, most: float) -> None:
    anything, _ = rate(150, spreads, alike=alike, metrics=30)
    assert anything <= most


def test_three_points_are_caught_and_a_tenth_of_one_is_not() -> None:
    spreads = (0.005, 0.005, 0.005)
    assert rate(200, spreads, -0.03, metrics=20)[1] >= 0.93
    assert rate(200, spreads, -0.001, metrics=20)[1] <= ALPHA


def test_five_seeds_catch_what_three_do_not() -> None:
    spreads = (0.01, 0.01, 0.01)
    three, five = (rate(120, spreads, -0.03, metrics=20, seeds=seeds)[1] for seeds in (3, 5))
    assert three <= 0.6
    assert five >= 0.75


def shifted(table: Cells, rng: np.random.Generator, shift: float, noise: float) -> Cells:
    """The same seeds once more, all numbers a little different and the accuracy of criterion a shifted."""
    return planted(
        cells(
            [
                row(criterion, quantity.metric, seed, float(value or 0) + noise * rng.normal())
                for quantity, cell in table.cells.items()
                for criterion, values in cell.items()
                for seed, value in values.items()
            ]
        ),
        shift,
    )


def test_what_shifts_noisy_seeds_alike_is_caught_and_their_noise_is_not() -> None:
    rng = np.random.default_rng(9)
    caught = anything = 0
    for _ in range(60):
        reference = draw(rng, (0.05,) * 3, metrics=15)
        caught += accuracy_of(judged(reference, shifted(reference, rng, -0.06, 0.003))).moved
        anything += any(change.moved for change in judged(reference, shifted(reference, rng, 0, 0.01)))
    assert caught >= 57
    assert anything <= 4


def test_a_criterion_that_alone_is_trained_again_rarely_moves() -> None:
    rng = np.random.default_rng(10)
    anything = 0
    for _ in range(150):
        reference, new = (draw(rng, (0.01,) * 3, metrics=15) for _ in range(2))
        for quantity, cell in new.cells.items():
            new.cells[quantity] = {**reference.cells[quantity], "a": cell["a"]}
        changes = judged(reference, new)
        assert {c.criterion for c in changes if c.verdict == "identical"} == {"b", "c"}
        anything += any(change.moved for change in changes)
    assert anything <= 8


def test_better_moves_as_well() -> None:
    rng = np.random.default_rng(4)
    reference = draw(rng, (0.004,) * 3, metrics=5)
    for change, verdict in ((0.03, "better"), (-0.03, "worse")):
        found = accuracy_of(judged(reference, planted(draw(rng, (0.004,) * 3, metrics=5), change)))
        assert found.verdict == verdict
        assert found.moved
        assert abs(found.difference or 0) > (found.tolerance or 1)


def test_the_smaller_the_better_where_it_is() -> None:
    def table(value: float) -> Cells:
        return cells(
            [row("a", "negative_log_likelihood", seed, value + 0.001 * seed) for seed in range(3)]
            + [row("a", "temperature", seed, value + 0.001 * seed) for seed in range(3)]
        )

    found = {change.quantity.metric: change.verdict for change in judged(table(1.0), table(2.0))}
    assert found == {"negative_log_likelihood": "worse", "temperature": "differs"}


def test_p_is_the_larger_of_two_by_hand() -> None:
    before, after = (0.80, 0.82, 0.81), (0.76, 0.75, 0.77)
    reference, new = (
        cells([row("a", "accuracy", seed, value, n=500) for seed, value in enumerate(values)])
        for values in (before, after)
    )
    found = accuracy_of(judged(reference, new))
    mean = sum((*before, *after)) / 6
    p = (mean * 500 + 1) / 502
    variance = p * (1 - p) / 500
    dispersion = 2 * ((2e-4 + 2e-4) / 4) / variance
    z = 0.05 / math.sqrt(variance / 3)
    by_images = 2 * stats.norm.sf(z)
    of_values = 2 * stats.t.sf(z / math.sqrt(dispersion), 4)
    of_differences = 2 * stats.t.sf(z / math.sqrt(3e-4 / variance), 2)
    by_seeds = 2 * min(of_values, of_differences)
    assert dispersion < 1
    assert found.difference == pytest.approx(-0.05)
    assert found.p == pytest.approx(max(by_images, by_seeds))
    assert found.holm == pytest.approx(found.p)
    quantiles = [
        stats.t.isf(0.0025, 4) * math.sqrt(dispersion),
        stats.t.isf(0.0025, 2) * math.sqrt(3e-4 / variance),
    ]
    tolerance = max(stats.norm.isf(0.005), min(quantiles)) * math.sqrt(variance / 3)
    assert found.tolerance == pytest.approx(tolerance)
    assert found.verdict == ("worse" if found.p <= 0.01 else "within")


def test_the_tolerance_is_where_the_verdict_turns() -> None:
    rng = np.random.default_rng(5)
    reference, new = (draw(rng, (0.006,) * 3, metrics=1) for _ in range(2))
    start = accuracy_of(judged(reference, new))
    assert start.tolerance is not None
    assert start.difference is not None
    for factor, moved in ((0.97, False), (1.03, True)):
        moved_there = planted(cells_of(new), factor * start.tolerance - start.difference)
        assert accuracy_of(judged(reference, moved_there)).moved is moved


def cells_of(table: Cells) -> Cells:
    """A copy."""
    return cells(
        [
            row(criterion, quantity.metric, seed, value)
            for quantity, cell in table.cells.items()
            for criterion, values in cell.items()
            for seed, value in values.items()
        ]
    )


def test_the_same_bits_are_identical() -> None:
    table = draw(np.random.default_rng(6), (0.01,) * 3)
    changes = judged(table, cells_of(table))
    assert {change.verdict for change in changes} == {"identical"}
    assert {change.p for change in changes} == {1.0}


def seeds(*values: float | None) -> Cells:
    return cells([row("a", "accuracy", seed, value) for seed, value in enumerate(values)])


def test_a_number_that_is_no_longer_finite_has_moved() -> None:
    some, none = (0.8, 0.81, 0.82), (None, math.nan, math.inf)
    for before, after in ((some, none), (none, some)):
        found = accuracy_of(judged(seeds(*before), seeds(*after)))
        assert (found.verdict, found.moved, found.difference) == ("not finite", True, None)
    assert accuracy_of(judged(seeds(*none), seeds(*none))).verdict == "identical"


def test_a_number_that_some_seeds_lack_is_judged_by_the_others() -> None:
    for before, after in (((0.8, 0.81, None), (0.8, 0.81, 0.82)), ((0.8, 0.81, 0.82), (0.8, math.nan, 0.82))):
        found = accuracy_of(judged(seeds(*before), seeds(*after)))
        assert found.verdict == "identical"
        assert len(found.seeds) == 2
    found = accuracy_of(judged(seeds(None, 0.81, 0.82), seeds(0.8, 0.41, 0.42)))
    assert found.verdict == "worse"


def test_a_single_seed_is_judged_by_the_spread_of_the_reference() -> None:
    reference = draw(np.random.default_rng(7), (0.005,) * 3, metrics=3)
    new = cells([row("a", "accuracy", 1, 0.6)])
    (found,) = judged(reference, new)
    assert found.verdict == "worse"
    assert found.seeds == (1,)


def test_without_any_spread_nothing_is_judged() -> None:
    reference, new = (cells([row("a", "accuracy", 0, value)]) for value in (0.9, 0.5))
    found = accuracy_of(judged(reference, new))
    assert (found.verdict, found.tolerance, found.p) == ("not judged", None, None)


def test_numbers_of_one_side_are_not_judged() -> None:
    reference = cells([row("a", "accuracy", 0, 0.9), row("b", "accuracy", 0, 0.9)])
    new = cells([row("a", "accuracy", 0, 0.9), row("c", "accuracy", 0, 0.9), row("b", "accuracy", 5, 0.9)])
    assert [change.criterion for change in judged(reference, new)] == ["a"]


def test_nothing_is_nothing() -> None:
    assert judged(Cells(), Cells()) == []


def test_json() -> None:
    reference = draw(np.random.default_rng(8), (0.01,) * 3, metrics=1)
    told = accuracy_of(judged(reference, reference)).to_json()
    assert told["verdict"] == "identical"
    assert set(told["values"]) == {"0", "1", "2"}
