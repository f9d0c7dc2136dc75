"""What may be asked of the corruption evaluation and of `hugbench corrupt`. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from hugbench.errors import UserError, nearest
from hugbench.types import Corruption

NAMES: tuple[str, ...] = get_args(Corruption)
STANDARD = NAMES[:15]
"""The kinds that a mean over corruptions is taken over, unless it says otherwise."""

SEVERITIES = (1, 2, 3, 4, 5)

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": STANDARD[:3],
    "blur": STANDARD[3:7],
    "weather": STANDARD[7:11],
    "digital": STANDARD[11:],
    "extra": NAMES[15:],
}
"""The families of ImageNet-C, as its authors group them, and the four extra kinds."""


def check(
    *,
    kinds: Sequence[str],
    severities: Sequence[int],
    seed: int,
    source: str,
    folder: str | None,
    frost_dir: str | None,
) -> None:
    """See that the arguments of the evaluation make sense together.

    Raises:
        UserError: a kind or a severity that does not exist, none or one twice, or a folder that the
            source would leave unread.
    """
    check_kinds(kinds)
    check_severities(severities)
    if seed < 0:
        raise UserError("not a seed", key="seed", found=seed, expected="0 or more")
    if folder is not None and source == "own":
        raise UserError(
            "a folder of corrupted images is named, and source is own, which reads none",
            key="folder",
            found=folder,
            expected="source: auto or folder, or no folder",
        )
    if frost_dir is not None and (source == "folder" or folder is not None):
        raise UserError(
            "photographs of frost are for images that are corrupted here, not for those of a folder",
            key="frost_dir",
            found=frost_dir,
            expected="source: own, or no frost_dir",
        )


def check_kinds(kinds: Sequence[str]) -> None:
    """See that these are kinds of corruption, at least one, and each once.

    Raises:
        UserError: they are not; names the nearest.
    """
    for kind in kinds:
        if kind not in NAMES:
            raise UserError(
                "unknown corruption",
                key="kinds",
                found=kind,
                expected=f"of: {', '.join(NAMES)}",
                nearest=nearest(str(kind), NAMES),
            )
    _once("kinds", kinds, f"at least one of: {', '.join(NAMES)}")


def check_severities(severities: Sequence[int]) -> None:
    """See that these are severities, at least one, and each once.

    Raises:
        UserError: they are not.
    """
    for severity in severities:
        if severity not in SEVERITIES or isinstance(severity, bool):
            raise UserError("no such severity", key="severities", found=severity, expected="1, 2, 3, 4 or 5")
    _once("severities", severities, "at least one of 1, 2, 3, 4, 5")


def described(kinds: Sequence[str], severities: Sequence[int]) -> str:
    """What a mean over corruptions is over, in words that tell a shortened list from the whole."""
    numbers = ", ".join(map(str, sorted(severities)))
    levels = "severities 1 to 5" if len(severities) == 5 else f"only severity {numbers}"
    if set(kinds) == set(STANDARD):
        return f"the 15 corruptions of CIFAR-C at {levels}"
    if set(kinds) == set(NAMES):
        return f"the 15 corruptions of CIFAR-C and the 4 extra ones at {levels}"
    return f"only {', '.join(kinds)} ({len(kinds)} of the 19 corruptions) at {levels}"


def _once(key: str, values: Iterable[object], expected: str) -> None:
    listed = list(values)
    if not listed:
        raise UserError("an empty list", key=key, found=listed, expected=expected)
    for place, value in enumerate(listed):
        if value in listed[:place]:
            raise UserError("the same value twice", key=key, found=value, expected="each once")
