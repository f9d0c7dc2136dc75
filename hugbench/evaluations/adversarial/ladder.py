"""Which attacks an evaluation makes, in which order, and what its figure is a bound of. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hugbench.errors import UserError
from hugbench.evaluations.adversarial.catalogue import (
    KINDS,
    Norm,
    arguments_of,
    kind_of,
    refusal,
    targets_among,
)
from hugbench.evaluations.adversarial.radius import check_eps

if TYPE_CHECKING:
    from hugbench.data.images import Dataset

Ladder = Literal["screen", "standard", "autoattack"]
KEY = "evaluations.adversarial"
WORST = "worst case"
"""What the worst case over several attacks is called."""


@dataclass(frozen=True)
class Rung:
    """One attack before its scales are known.

    Attributes:
        name: as the catalogue has it.
        given: arguments that are not the attack's defaults.
        label: whom its victims count for.
    """

    name: str
    given: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def text(self) -> str:
        """`apgd_t(steps=20, targets=3)`."""
        told = ", ".join(f"{key}={value}" for key, value in self.given.items())
        return f"{self.name}({told})" if told else self.name


_SCREEN = (Rung("pgd", {"steps": 5}), Rung("upgd_margin"), Rung("apgd_ce", {"steps": 20}))
_STANDARD = (
    *_SCREEN,
    Rung("apgd_t", {"steps": 20, "targets": 3}),
    Rung("apgd_ce", {"steps": 100}),
    Rung("apgd_t", {"steps": 100, "targets": 3}),
)
_AUTOATTACK = (
    *_STANDARD,
    Rung("apgd_t", {"steps": 100, "targets": 6, "first": 4}),
    Rung("fab_t", {"steps": 100, "targets": 9}),
    Rung("square", {"queries": 5000}),
)
LADDERS: dict[str, tuple[Rung, ...]] = {
    "screen": _SCREEN,
    "standard": _STANDARD,
    "autoattack": _AUTOATTACK,
}
"""From cheap to dear, each the beginning of the next. The last is AutoAttack's own budget (Croce, Hein,
ICML 2020, arXiv 2003.01690: APGD-CE of 100 steps, APGD-T and FAB-T of 100 steps towards 9 classes, Square
of 5,000 queries) on all that the rungs below it leave."""

BOUNDS = {
    "screen": "an upper bound of robust accuracy from three cheap attacks: compare criteria with care, and "
    "quote no figure",
    "standard": "an upper bound of robust accuracy: of AutoAttack, APGD-T aimed at 3 of at most 9 "
    "classes, and FAB-T and Square were not run",
    "autoattack": "AutoAttack's budget (APGD-CE, APGD-T, FAB-T, Square) on all that cheaper attacks left",
}


def rungs(attack: Ladder | None, attacks: Sequence[Any], norm: Norm) -> tuple[Rung, ...]:
    """The attacks that a suite asks for.

    Args:
        attack: a ladder; None is `standard` where there are no attacks.
        attacks: names, or {name: {arguments}}, each an attack by itself.
        norm: of the ball.

    Raises:
        UserError: both, an unknown attack, arguments that it does not take, the same attack twice.
    """
    if not attacks:
        chosen = attack or "standard"
        return tuple(Rung(rung.name, rung.given, chosen) for rung in LADDERS[chosen])
    key = f"{KEY}.attacks"
    if attack is not None:
        raise UserError(
            f"attack: {attack} says which attacks are made, and so does attacks",
            key=key,
            expected="one of both",
        )
    found: dict[tuple[str, str], Rung] = {}
    for entry in attacks:
        name, given = _entry(entry, key)
        whole = arguments_of(name, norm, given, key=f"{key}.{name}")
        rung = Rung(name, _changed(name, whole))
        if (same := (name, repr(whole))) in found:
            raise UserError("the same attack twice", key=key, found=rung.text)
        found[same] = Rung(name, rung.given, rung.text)
    return tuple(found.values())


def effective(rung: Rung, classes: int) -> bool:
    """Whether a rung aims at any class that is in play."""
    if rung.name not in ("apgd_t", "fab_t"):
        return True
    whole = kind_of(rung.name).takes.model_validate(dict(rung.given)).model_dump()
    return targets_among(whole["targets"], whole["first"], classes) > 0


def bound(asked: Sequence[Rung]) -> str:
    """What the figure is, in a sentence that travels with it."""
    labels = list(dict.fromkeys(rung.label for rung in asked))
    if labels[0] in BOUNDS:
        return f"robust_accuracy ({labels[0]}) is {BOUNDS[labels[0]]}"
    return f"robust_accuracy is an upper bound, by {', '.join(labels)} alone"


def check_arguments(
    *,
    attack: Ladder | None,
    attacks: Sequence[Any],
    norm: Norm,
    eps: Sequence[str],
    scales: Sequence[float],
    **_: Any,
) -> None:
    """See that the arguments fit each other, without data.

    Raises:
        UserError: they do not.
    """
    rungs(attack, attacks, norm)
    check_eps(norm, eps, key=f"{KEY}.eps")
    if len(set(scales)) < len(scales):
        raise UserError("the same scale twice", key=f"{KEY}.scales", found=tuple(scales))


def check_data(
    dataset: Dataset,
    data: Path,
    *,
    attack: Ladder | None,
    attacks: Sequence[Any],
    norm: Norm,
    eps: Sequence[str],
    **_: Any,
) -> None:
    """See that the attacks can be made on the images, before anything is trained.

    Raises:
        UserError: no test images, too few classes, images that an attack cannot take, a radius that is
            larger than they are.
    """
    if not len(dataset.test):
        raise UserError(f"{dataset.name} has no test images to attack", key=KEY)
    shape = dataset.test.shape
    check_eps(norm, eps, shape=shape, key=f"{KEY}.eps")
    classes = len(dataset.classes)
    for rung in rungs(attack, attacks, norm):
        reason = refusal(rung.name, norm, classes, shape)
        if attacks and not effective(rung, classes):
            reason = f"it aims at none of {classes} classes"
        if reason:
            raise UserError(
                f"{rung.text} cannot be made on {dataset.name}: {reason}",
                key=f"{KEY}.{'attacks' if attacks else 'attack'}",
                found=attack,
                expected="attacks that the images can take",
            )


def _entry(entry: Any, key: str) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of `pgd` or `{pgd: {steps: 20}}`."""
    if isinstance(entry, str):
        return entry, {}
    if len(entry) != 1:
        raise UserError(
            "not an attack", key=key, found=dict(entry), expected="a name, or {name_of_attack: {arguments}}"
        )
    name, given = next(iter(entry.items()))
    return name, given or {}


def _changed(name: str, whole: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are not the defaults."""
    defaults = KINDS[name].takes.model_construct().model_dump()
    return {key: value for key, value in whole.items() if value != defaults[key]}
