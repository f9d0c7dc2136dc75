"""The names a suite may use, and where each is defined. Importing this imports none of them."""

from __future__ import annotations

from functools import lru_cache

from hugbench.errors import UserError, nearest

CRITERIA: dict[str, str] = {
    "cross_entropy": "hugbench.criteria.softmax:CrossEntropy",
    "hug": "hugbench.criteria.hug:HUG",
}

EVALUATIONS: dict[str, str] = {
    "accuracy": "hugbench.evaluations.accuracy:accuracy",
}

PROTOCOLS: dict[str, str] = {
    "standard": "hugbench.protocols.standard:standard",
}

ENTRY_POINTS = "hugbench.criteria"


@lru_cache(maxsize=1)
def installed_criteria() -> dict[str, str]:
    """Criteria that other installed packages offer through the entry point `hugbench.criteria`."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def criteria() -> dict[str, str]:
    """Every criterion by name: hugbench's own, then installed ones of other names."""
    return {**installed_criteria(), **CRITERIA}


def lookup(kind: str, table: dict[str, str], name: str, where: str | None, key: str | None) -> str:
    """The target of `name`.

    Raises:
        UserError: no such name; says the nearest one.
    """
    if name not in table:
        raise UserError(
            f"unknown {kind}",
            where=where,
            key=key,
            found=name,
            expected=f"one of: {', '.join(sorted(table))}",
            nearest=nearest(name, table),
        )
    return table[name]
