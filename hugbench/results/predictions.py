"""Per-example predictions behind a difference: the bootstrap over images, and McNemar's test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hugbench.results.cells import Block, Quantity
from hugbench.results.comparison import direction
from hugbench.results.contrasts import BEFORE, LEVEL, Bootstrap, Contrast
from hugbench.results.mcnemar import mcnemar
from hugbench.results.measured import Measured
from hugbench.results.resampling import bootstrap_intervals

COLUMNS = {"nearest_class_mean_accuracy": "nearest_class_mean"}
"""Column of the predicted label by metric, where it is not `prediction`."""

CORRUPTED = "corrupted"
"""The condition of a mean over all corruptions, each under all severities."""

Table = Mapping[str, NDArray[Any]]

Group = tuple[str, str | None, int | None]
"""A column of predictions, and which of its rows: a condition, a severity (None where there are no such)."""

Rights = Mapping[Group, tuple[str, NDArray[np.bool_]]]
"""A digest of which images (and labels) there are, and whether each is right, ordered by index (N,)."""


class Place(NamedTuple):
    """Of what predictions are: one evaluation, at its end, of one run."""

    block: Block
    criterion: str
    evaluation: str
    seed: int


@dataclass(frozen=True)
class Hits:
    """A digest of which images (and labels) there are, and how far each is right, in [0, 1] (N,)."""

    images: str
    right: NDArray[np.float64]

    @property
    def yes_or_no(self) -> bool:
        """Whether each image is either right or wrong, and not a mean over corruptions."""
        return bool(((self.right == 0) | (self.right == 1)).all())


class Predictions:
    """The predictions of runs, each file read once, when it is asked for.

    `notes` has a sentence for each file that is damaged.
    """

    def __init__(self, runs: Iterable[Measured]) -> None:
        self.notes: list[str] = []
        self._files: dict[Place, tuple[Measured, str]] = {}
        self._rights: dict[Path, Rights] = {}
        for run in runs:
            for key, evaluation in run.questions.items():
                if "." not in key and key in run.status.evaluations:
                    self._files[Place(run.block, run.label, evaluation, run.seed)] = run, key

    def hits(self, quantity: Quantity, criterion: str, seed: int, value: float) -> Hits | None:
        """How far a run has each image right, if the mean of that is a number; None where it is not.

        Args:
            quantity: what the number is of.
            criterion, seed: of which run.
            value: the number; an error is 1 minus the mean.
        """
        if quantity.subset != "all" or quantity.epoch is not None:
            return None
        run, key = self._files.get(Place(quantity.block, criterion, quantity.evaluation, seed), (None, ""))
        if run is None or quantity.experience not in (None, run.experiences):
            return None
        path = run.folder.predictions_file(key)
        if path not in self._rights:
            table = self._read(run, path)
            self._rights[path] = {} if table is None else _rights(table)
        found = _per_image(self._rights[path], quantity)
        if not found:
            return None
        hits = Hits(*found)
        means = value if direction(quantity.metric) == "higher" else 1 - value
        return hits if abs(float(hits.right.mean()) - means) < 1e-9 else None

    def _read(self, run: Measured, path: Path) -> Table | None:
        if path.relative_to(run.folder.path).as_posix() not in run.status.files:
            return None
        if reason := run.folder.damaged(run.status, path):
            self.notes.append(f"{run.folder.run_id}: {reason}; no bootstrap and no McNemar's test of it")
            return None
        import pyarrow.parquet

        names = ("index", "target", "condition", "severity", "prediction", "fooled", *COLUMNS.values())
        file = pyarrow.parquet.ParquetFile(path)
        there = [name for name in names if name in file.schema_arrow.names]
        found = file.read(columns=there, use_threads=False)
        table = {name: found.column(name).to_numpy() for name in there if name != "condition"}
        if "condition" in there:
            encoded = found.column("condition").combine_chunks().dictionary_encode()
            table["condition"] = encoded.indices.to_numpy()
            table["conditions"] = encoded.dictionary.to_numpy(zero_copy_only=False)
        return table


def _rights(table: Table) -> Rights:
    """Whether each image is right, for every group of rows that has each image once."""
    if "target" not in table or "index" not in table:
        return {}
    count = len(table["index"])
    condition = table.get("condition", np.zeros(count, int))
    severity = table.get("severity", np.zeros(count, int))
    order = np.lexsort((table["index"], severity, condition))
    changed = np.diff(condition[order].astype(int)) | np.diff(severity[order].astype(int))
    found: dict[Group, tuple[str, NDArray[np.bool_]]] = {}
    for rows in np.split(order, np.flatnonzero(changed) + 1) if count else []:
        index, target = table["index"][rows].astype(np.int64), table["target"][rows].astype(np.int64)
        if (np.diff(index) == 0).any():
            continue
        digest = hashlib.sha256(index.tobytes() + target.tobytes()).hexdigest()
        where = (
            str(table["conditions"][condition[rows[0]]]) if "conditions" in table else None,
            int(severity[rows[0]]) if "severity" in table else None,
        )
        for column in ("prediction", *COLUMNS.values()):
            if column in table:
                found[(column, *where)] = digest, table[column][rows] == target
        if "fooled" in table:
            found[("fooled", *where)] = digest, ~table["fooled"][rows].astype(bool)
    return found


def _per_image(rights: Rights, quantity: Quantity) -> tuple[str, NDArray[np.float64]] | None:
    """A digest of the images and how far each is right, ordered by index; None where nothing is known.

    Images that have several rows, one for each corruption and severity, have the mean of them.
    """
    column = COLUMNS.get(quantity.metric, "prediction")
    if quantity.metric == "robust_accuracy" and any(group[0] == "fooled" for group in rights):
        column = "fooled"
    mean = quantity.condition == CORRUPTED and quantity.severity is None
    chosen = [
        right
        for (name, condition, severity), right in rights.items()
        if name == column
        and (condition is None or (condition != "clean" if mean else condition == quantity.condition))
        and (quantity.severity is None or severity in (None, quantity.severity))
    ]
    if len({digest for digest, _ in chosen}) != 1:
        return None
    return chosen[0][0], np.mean([right for _, right in chosen], axis=0)


def with_predictions(
    lines: Sequence[Contrast], first: Predictions, second: Predictions, draws: int
) -> list[Contrast]:
    """The lines with bootstrap intervals and McNemar's test, where the numbers are shares of images.

    Args:
        lines: of a comparison.
        first: the predictions of the criteria.
        second: those of what they are compared with.
        draws: of the bootstrap; 0 for none.
    """
    lines = list(lines)
    alike: dict[tuple[str, tuple[int, ...]], list[tuple[int, NDArray[np.float32]]]] = defaultdict(list)
    for place, line in enumerate(lines):
        pairs = _pairs(line, first, second)
        if not pairs:
            continue
        if all(hits.yes_or_no for pair in pairs.values() for hits in pair):
            tests = {seed: mcnemar(one.right, other.right) for seed, (one, other) in pairs.items()}
            lines[place] = replace(line, mcnemar=tests)
        images = {hits.images for pair in pairs.values() for hits in pair}
        if len(images) == 1:
            sign = 1.0 if direction(line.quantity.metric) == "higher" else -1.0
            rows = [sign * (one.right - other.right) for one, other in pairs.values()]
            alike[images.pop(), tuple(pairs)].append((place, np.stack(rows).astype(np.float32)))
    for (_, seeds), members in alike.items() if draws else ():
        intervals = bootstrap_intervals(np.stack([rows for _, rows in members]), draws, level=LEVEL)
        for (place, of_images), (low, high) in zip(members, intervals.tolist(), strict=True):
            found = Bootstrap(low, high, draws, of_images.shape[1], len(seeds))
            lines[place] = replace(lines[place], bootstrap=found)
    return lines


def _pairs(line: Contrast, first: Predictions, second: Predictions) -> dict[int, tuple[Hits, Hits]]:
    """What both have right, by seed; nothing unless it is known for every shared seed."""
    if line.difference is None or line.reference is None or not line.difference.n:
        return {}
    against = line.criterion if line.against == BEFORE else line.against
    pairs = {}
    for seed in line.difference.seeds:
        one = first.hits(line.quantity, line.criterion, seed, line.values[seed])
        other = one and second.hits(line.quantity, against, seed, line.reference_values[seed])
        if one is None or other is None or one.images != other.images:
            return {}
        pairs[seed] = one, other
    return pairs
