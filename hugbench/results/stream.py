"""From accuracy after every experience to the numbers of a class-incremental stream.

R[i][j] is the accuracy on the test images of experience j's classes after experience i, both from 1 to
E; R[0][j] is that of the untrained model. Every mean over experiences weighs them alike, however
many classes or images they have.

final_accuracy: mean over j of R[E][j].
average_incremental_accuracy: mean over i ≥ 1 of the accuracy on all test images of the classes seen up
    to i (Rebuffi et al., iCaRL, CVPR 2017, arXiv 1611.07725).
forgetting: mean over j < E of max over i in 1..E−1 of R[i][j], minus R[E][j] (Chaudhry et al., Riemannian
    Walk, ECCV 2018, arXiv 1801.10112).
forgetting_initial: mean over j < E of R[j][j] − R[E][j], as Avalanche computes it.
backward_transfer: mean over j < E of R[E][j] − R[j][j] (Lopez-Paz, Ranzato, Gradient Episodic Memory,
    NeurIPS 2017, arXiv 1706.08840).
forward_transfer: mean over j > 1 of R[j−1][j] − R[0][j] (the same).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hugbench.suite.moments import EXPERIENCE, SEEN

_SUFFIX = "accuracy"

Matrix = Mapping[int, Mapping[int, float]]
"""R[i][j], rows from 0 (untrained) or 1, columns from 1."""

Row = dict[str, Any]


def summarise(matrix: Matrix, seen: Mapping[int, float], last: int) -> dict[str, float]:
    """Every number above that the matrix has the entries for.

    Args:
        matrix: R[i][j].
        seen: accuracy on the classes seen so far, after experience i ≥ 1.
        last: E, how many experiences the stream has.
    """
    entries = {
        "final_accuracy": _mean(matrix, [(last, j) for j in range(1, last + 1)]),
        "backward_transfer": _mean_difference(matrix, [((last, j), (j, j)) for j in range(1, last)]),
        "forward_transfer": _mean_difference(matrix, [((j - 1, j), (0, j)) for j in range(2, last + 1)]),
        "forgetting_initial": _mean_difference(matrix, [((j, j), (last, j)) for j in range(1, last)]),
        "forgetting": _forgetting(matrix, last),
    }
    if all(i in seen for i in range(1, last + 1)):
        entries["average_incremental_accuracy"] = sum(seen[i] for i in range(1, last + 1)) / last
    return {name: value for name, value in entries.items() if value is not None}


def stream_rows(rows: Sequence[Row], experiences: int) -> Iterator[Row]:
    """The numbers of one run's stream, as records beside those they come from.

    For every metric that is an accuracy by experience (subset `experience:j`), under every condition and
    evaluation there is; under corruptions of the mean over severities, not of each. Metrics of plain
    accuracy have the names above; those of another, such as robust_accuracy, have its name in front:
    robust_accuracy.forgetting.

    Args:
        rows: records of one run at all its moments.
        experiences: E.
    """
    places: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["severity"] is not None or row["experience"] is None or row["value"] is None:
            continue
        if row["metric"].endswith(_SUFFIX):
            place = row["evaluation"], row["metric"], row["condition"]
            places.setdefault(place, []).append(row)
    for (_, metric, _), found in places.items():
        matrix = _matrix(found)
        seen = {row["experience"]: row["value"] for row in found if row["subset"] == SEEN}
        at_end = [row for row in found if row["experience"] == experiences and _experience(row) is not None]
        for name, value in summarise(matrix, seen, experiences).items():
            shown = name if metric == _SUFFIX else f"{metric}.{name}"
            images = sum(row["n"] for row in at_end)
            if images:
                yield {**at_end[0], "metric": shown, "subset": "all", "value": value, "n": images}


def _matrix(rows: Iterable[Row]) -> dict[int, dict[int, float]]:
    matrix: dict[int, dict[int, float]] = {}
    for row in rows:
        column = _experience(row)
        if column is not None:
            matrix.setdefault(row["experience"], {})[column] = row["value"]
    return matrix


def _experience(row: Row) -> int | None:
    """Which experience's classes a record is of, or None."""
    subset: str = row["subset"]
    return int(subset.removeprefix(EXPERIENCE)) if subset.startswith(EXPERIENCE) else None


def _mean(matrix: Matrix, places: Sequence[tuple[int, int]]) -> float | None:
    """The mean of entries, or None where there are none or one is missing."""
    values = [matrix.get(i, {}).get(j) for i, j in places]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _mean_difference(
    matrix: Matrix, pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]]
) -> float | None:
    left, right = _mean(matrix, [one for one, _ in pairs]), _mean(matrix, [other for _, other in pairs])
    return None if left is None or right is None else left - right


def _forgetting(matrix: Matrix, last: int) -> float | None:
    """Mean over the earlier experiences of the best accuracy before the last one, minus the final one."""
    final = _mean(matrix, [(last, j) for j in range(1, last)])
    earlier = [(i, j) for i in range(1, last) for j in range(1, last)]
    if final is None or _mean(matrix, earlier) is None:
        return None
    best = [max(matrix[i][j] for i in range(1, last)) for j in range(1, last)]
    return sum(best) / len(best) - final
