"""What may be asked of the corruption evaluation and of `hugbench corrupt`. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from hugbench.errors import UserError
from hugbench.evaluations.corruption.names import EXTRA, KINDS, SEVERITIES, check_kind, check_severity

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": KINDS[:3],
    "blur": KINDS[3:7],
    "weather": KINDS[7:11],
    "digital": KINDS[11:],
    "extra": EXTRA,
}
"""The families of ImageNet-C, as its authors group them, and the four held-out kinds."""


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


def check_kinds(kinds: Sequence[str], *, key: str = "kinds") -> None:
    """See that these are kinds of corruption, at least one, and each once.

    Raises:
        UserError: they are not; names the nearest.
    """
    for kind in kinds:
        check_kind(kind, key=key)
    _once(kinds, key, f"at least one of: {', '.join((*KINDS, *EXTRA))}")


def check_severities(severities: Sequence[int], *, key: str = "severities") -> None:
    """See that these are severities, at least one, and each once.

    Raises:
        UserError: they are not.
    """
    for severity in severities:
        check_severity(severity, key=key)
    _once(severities, key, f"at least one of: {', '.join(map(str, SEVERITIES))}")


def described(kinds: Sequence[str], severities: Sequence[int]) -> str:
    """What a mean over corruptions is over, in words that tell a shortened list from the whole."""
    plural = "severity" if len(severities) == 1 else "severities"
    whole = set(severities) == set(SEVERITIES)
    levels = "severities 1 to 5" if whole else f"only {plural} {', '.join(map(str, sorted(severities)))}"
    if set(kinds) == set(KINDS):
        return f"the 15 corruptions of CIFAR-C at {levels}"
    if set(kinds) == {*KINDS, *EXTRA}:
        return f"the 15 corruptions of CIFAR-C and the 4 extra ones at {levels}"
    return f"only {', '.join(kinds)} (not the 15 corruptions of CIFAR-C) at {levels}"


def _once(values: Sequence[object], key: str, expected: str) -> None:
    if not values:
        raise UserError("an empty list", key=key, found=list(values), expected=expected)
    for place, value in enumerate(values):
        if value in values[:place]:
            raise UserError("the same value twice", key=key, found=value, expected="each once")
