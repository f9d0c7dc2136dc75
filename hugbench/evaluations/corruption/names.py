"""The names of the corruptions. Importing this needs no torch."""

from __future__ import annotations

from typing import get_args

from hugbench.errors import UserError, nearest
from hugbench.types import Corruption

KINDS: tuple[str, ...] = get_args(Corruption)[:15]
"""The 15 corruptions of CIFAR-C and ImageNet-C that mean corruption error is over, in their order."""

EXTRA: tuple[str, ...] = get_args(Corruption)[15:]
"""The four that are held out for validation."""

SEVERITIES = (1, 2, 3, 4, 5)


def check_kind(kind: str, *, key: str | None = None) -> str:
    """The name of a corruption, as it is.

    Raises:
        UserError: no such corruption; says the nearest one.
    """
    known = KINDS + EXTRA
    if kind not in known:
        raise UserError(
            "unknown corruption",
            key=key,
            found=kind,
            expected=f"one of: {', '.join(known)}",
            nearest=_like(kind) if isinstance(kind, str) else None,
        )
    return kind


def _like(name: str) -> str | None:
    known = KINDS + EXTRA
    longer = (kind for kind in known if name and kind.startswith(name.lower()))
    return nearest(name, known) or next(longer, None)


def check_severity(severity: int, *, key: str | None = None) -> int:
    """A severity, as it is.

    Raises:
        UserError: it is none of 1 to 5.
    """
    if isinstance(severity, bool) or not isinstance(severity, int) or severity not in SEVERITIES:
        raise UserError("no such severity", key=key, found=severity, expected="an integer from 1 to 5")
    return severity
