"""The columns of a record, and which stored records can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA = 2
"""Version of a stored record, its `schema`. 1, which stored none, lacks `reliability`: it counts as null."""

COLUMNS = (
    "run_id",
    "criterion",
    "dataset",
    "backbone",
    "protocol",
    "variant",
    "seed",
    "evaluation",
    "metric",
    "condition",
    "severity",
    "experience",
    "epoch",
    "subset",
    "value",
    "n",
    "reference",
    "reliability",
)
"""`criterion` and `evaluation` are the suite's labels; `variant` is the run's place on its axes;
`reference` is the criterion that a number is normalised by, where it is; `reliability` is the verdict of a
figure's own checks, PASS, WARN or FAIL, where it has such."""

_NEEDED = frozenset(
    {"dataset", "backbone", "protocol", "seed", "evaluation", "metric", "condition", "subset", "value", "n"}
)


def unreadable(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Why stored records cannot be read, or None. Columns that may be null may be absent."""
    known: set[tuple[str, ...]] = set()
    for row in rows:
        schema = row.get("schema", 1)
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            return f"its records have schema {schema!r}, and this hugbench reads those up to {SCHEMA}"
        columns = tuple(row)
        if columns not in known:
            if lacking := sorted(_NEEDED.difference(columns)):
                return f"its records have no column {', '.join(lacking)}"
            known.add(columns)
    return None
