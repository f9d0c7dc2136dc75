"""References: the frozen records of a suite, a file of JSON lines that is a test.

The first line is the header: what was frozen, of which code, versions, hardware and data. Every further line
is a record (`hugbench.results.records.COLUMNS`) without the columns that are null and those that all records
share, which the header has under `common`. `baselines/reference/SUITE.jsonl` are those that hugbench ships.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugbench.errors import UserError
from hugbench.results.records import COLUMNS, SCHEMA
from hugbench.storage import write_atomic

FORMAT = 1
"""Version of the file, its header's `schema`."""

KIND = "hugbench reference"
FOLDER = Path("baselines") / "reference"

Row = dict[str, Any]

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
    "runs": int,
    "baseline": str,
    "remarks": list,
    "common": dict,
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
    """Whether a record is worth guarding: of all images or a named group, at the end of its run.

    Not guarded are single classes and experiences, single severities, moments before the end, and of the ways
    to measure out-of-distribution detection all but AUROC.

    Args:
        row: a record.
        experiences: of its class-incremental stream; None outside one.
    """
    return (
        ":" not in row["subset"]
        and row.get("severity") is None
        and row.get("epoch") is None
        and row.get("experience") in (None, experiences)
        and row["metric"].rpartition(".")[2] not in ("aupr_in", "aupr_out", "fpr_at_95_tpr")
    )


def write_reference(file: Path, header: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Write a reference: header first, then the records in an order of their own.

    Args:
        file: is replaced.
        header: all of `HEADER` but `common`.
        rows: records with all columns.
    """
    ordered = sorted(rows, key=_order)
    common = {
        name: ordered[0][name]
        for name in COLUMNS
        if ordered and all(row[name] == ordered[0][name] for row in ordered)
    }
    head = {"kind": KIND, "schema": FORMAT, "record_schema": SCHEMA, **header, "common": common}
    lines = [head, *({name: row[name] for name in COLUMNS if _told(row, name, common)} for row in ordered)]
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
    empty = {**dict.fromkeys(COLUMNS), **header["common"]}
    for number, row in enumerate(rows, start=2):
        found = {**empty, **row} if isinstance(row, dict) else {}
        value, images, seed = (found.get(name) for name in ("value", "n", "seed"))
        sound = isinstance(value, int | float | None) and isinstance(images, int) and isinstance(seed, int)
        if not sound or set(found) != set(COLUMNS):
            raise UserError(
                "no record", where=f"{file}:{number}", found=row, expected="the columns of a record"
            )
        yield found


def _told(row: Row, name: str, common: Mapping[str, Any]) -> bool:
    """Whether a line has to say a column."""
    return name not in common and row[name] is not None


def _order(row: Row) -> tuple[tuple[bool, Any], ...]:
    columns = [name for name in COLUMNS if name not in ("run_id", "value", "n", "reference", "reliability")]
    return tuple((row[name] is not None, "" if row[name] is None else row[name]) for name in columns)
