"""References: the frozen records of a suite, a file of JSON lines that is a test.

The first line is the header: what was frozen, of which code, versions, hardware and data, and under `runs`
every run with what all its records share. Every further line is a record without that: `run` is the place of
its run, and columns that are as in `_USUAL` are left out. `baselines/reference/SUITE.jsonl` are those that
hugbench ships.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugbench.errors import UserError
from hugbench.results.primary import CONDITIONS
from hugbench.results.records import COLUMNS, SCHEMA
from hugbench.storage import write_atomic

FORMAT = 1
"""Version of the file, its header's `schema`."""

KIND = "hugbench reference"
FOLDER = Path("baselines") / "reference"

Row = dict[str, Any]

_SHARED = ("dataset", "backbone", "protocol", "variant", "criterion", "seed", "run_id")
"""Columns that are the same in all records of a run."""

_USUAL: Row = {
    "condition": "clean",
    "severity": None,
    "experience": None,
    "epoch": None,
    "subset": "all",
    "value": None,
    "reference": None,
    "reliability": None,
}

HEADER = {
    "suite": str,
    "suite_sha256": str,
    "spec_version": int,
    "hugbench": str,
    "frozen": str,
    "criteria": list,
    "seeds": list,
    "scope": str,
    "datasets": dict,
    "environments": list,
    "training_seconds": float | int,
    "evaluations": dict,
    "runs": list,
    "baseline": str,
    "remarks": list,
}
"""The keys of a header, beside `kind`, `schema` and `record_schema`.

suite_sha256: over the runs and evaluations that the suite asks for. scope: guarded or all (`guarded`).
datasets: of each, the sum of its images, how many it has and how many of them were used. environments:
versions and hardware, each with how many runs it is of. evaluations: by label, a hash of the arguments.
remarks: sentences a reader has to know, such as that all was run on a CPU at reduced size.
"""


@dataclass(frozen=True)
class Reference:
    """A reference as read.

    Attributes:
        file: where it lies.
        header: its first line.
        rows: its records, with all columns.
    """

    file: Path
    header: Mapping[str, Any]
    rows: tuple[Row, ...]


def reference_file(suite: str) -> Path:
    """Where a suite's reference lies: under the current folder, or where hugbench ships it."""
    package = Path(__file__).resolve().parents[1]
    name = f"{suite}.jsonl"
    shipped = (package / "_shipped" / FOLDER / name, package.parent / FOLDER / name)
    return next((path for path in (FOLDER / name, *shipped) if path.is_file()), FOLDER / name)


def guarded(row: Mapping[str, Any], experiences: int | None) -> bool:
    """Whether a record is worth guarding: of all images or a named group of classes, at the end of its run.

    Not guarded are single classes, experiences, severities and out-of-distribution sets, moments before the
    end, of calibration the single corruptions and bins of equal mass, of detection all but AUROC, and what
    is the same number again (at the end of a stream, `seen` and `final_accuracy`).

    Args:
        row: a record.
        experiences: of its class-incremental stream; None outside one.
    """
    metric, condition, subset = row["metric"], row["condition"], row["subset"]
    evaluation = row["evaluation"].partition("(")[0]
    return (
        ":" not in subset
        and subset != "seen"
        and ":" not in condition
        and (evaluation != "calibration" or condition in CONDITIONS["calibration"])
        and row.get("severity") is None
        and row.get("epoch") is None
        and row.get("experience") in (None, experiences)
        and "equal_mass" not in metric
        and metric.rpartition(".")[2] not in ("aupr_in", "aupr_out", "fpr_at_95_tpr", "final_accuracy")
    )


def write_reference(file: Path, header: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Write a reference: header first, then the records in an order of their own.

    Args:
        file: is replaced.
        header: all of `HEADER` but `runs`.
        rows: records with all columns.
    """
    ordered = sorted(rows, key=_order)
    places = {run: place for place, run in enumerate(dict.fromkeys(map(_run, ordered)))}
    runs = [dict(zip(_SHARED, run, strict=True)) for run in places]
    head = {"kind": KIND, "schema": FORMAT, "record_schema": SCHEMA, **header, "runs": runs}
    lines = [head, *({"run": places[_run(row)], **_told(row)} for row in ordered)]
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    write_atomic(file, text.encode())


def read_reference(file: Path) -> Reference:
    """Read a reference.

    Raises:
        UserError: there is none, it is none, or it is of another version.
    """
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    except FileNotFoundError:
        raise UserError(
            "there is no reference", where=file, expected="one that `hugbench freeze SUITE` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot be read ({type(error).__name__})", where=file, expected="JSON, line by line"
        ) from None
    if not lines or not isinstance(lines[0], dict) or lines[0].get("kind") != KIND:
        raise UserError("no reference", where=file, expected=f'a first line with "kind": "{KIND}"')
    header, *rows = lines
    _refuse_versions(file, header)
    for name, kind in HEADER.items():
        if not isinstance(header.get(name), kind):
            raise UserError(
                "damaged header", where=f"{file}:1", key=name, found=header.get(name), expected=str(kind)
            )
    return Reference(file, header, tuple(_rows(file, header, rows)))


def _refuse_versions(file: Path, header: Mapping[str, Any]) -> None:
    for name, newest in (("schema", FORMAT), ("record_schema", SCHEMA)):
        version = header.get(name)
        if not isinstance(version, int) or not 1 <= version <= newest:
            raise UserError(
                "a reference of a version that this hugbench does not know",
                where=f"{file}:1",
                key=name,
                found=version,
                expected=f"at most {newest}; freeze it again, or use the hugbench that wrote it",
            )


def _rows(file: Path, header: Mapping[str, Any], rows: Sequence[Any]) -> Iterable[Row]:
    runs = header["runs"]
    for number, row in enumerate(rows, start=2):
        try:
            place = row["run"]
            found = {**_USUAL, **runs[place], **{name: row[name] for name in row if name != "run"}}
        except (TypeError, KeyError, IndexError):
            found = {}
        value, images, seed = (found.get(name) for name in ("value", "n", "seed"))
        sound = isinstance(value, int | float | None) and isinstance(images, int) and isinstance(seed, int)
        if not sound or set(found) != set(COLUMNS):
            raise UserError(
                "no record", where=f"{file}:{number}", found=row, expected="the columns of a record"
            )
        yield found


def _run(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _SHARED)


def _told(row: Row) -> Row:
    """The columns that a line has to say."""
    return {
        name: row[name]
        for name in COLUMNS
        if name not in _SHARED and (name not in _USUAL or row[name] != _USUAL[name])
    }


def _order(row: Row) -> tuple[tuple[bool, Any], ...]:
    columns = (*_SHARED, "evaluation", "metric", "condition", "severity", "experience", "epoch", "subset")
    return tuple((row[name] is not None, "" if row[name] is None else row[name]) for name in columns)
