"""Every attack that a suite can name, what it takes and what it needs. Without torch, for validation.

A *pass* is a forward and a backward pass of one image; a forward pass alone counts a third of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from hugbench.errors import UserError, nearest
from hugbench.evaluations.adversarial import arguments as takes
from hugbench.types import Frozen

Norm = Literal["Linf", "L2"]
NORMS: tuple[Norm, ...] = ("Linf", "L2")
FORWARD = 1 / 3


@dataclass(frozen=True)
class Kind:
    """What is known of an attack before it runs.

    Attributes:
        takes: the model of its arguments.
        passes: its cost in passes for an image that resists, of its arguments and the classes in play;
            of deepfool, which stops at the first misclassified image wherever it is, the most it can be.
        draws: whether another seed can give other images (of default arguments).
        by_scale: whether its images depend on the scale of the logits; where they do not, attacking at
            several scales is a waste.
        norms: the balls that it exists for.
    """

    takes: type[Frozen]
    passes: Callable[[Any, int], float]
    draws: bool = False
    by_scale: bool = False
    norms: tuple[Norm, ...] = NORMS


def targets_among(wanted: int, first: int, classes: int) -> int:
    """How many wrong classes are left to aim at, from the `first` likeliest on."""
    return max(0, min(wanted, classes - first))


def _descent(given: Any, classes: int) -> float:
    return float(given.steps * getattr(given, "eot", 1) * getattr(given, "restarts", 1) + FORWARD)


def _apgd(given: Any, classes: int) -> float:
    aims = targets_among(given.targets, given.first, classes) if isinstance(given, takes.ApgdT) else 1
    return float(aims * given.restarts * ((given.steps + 1) * given.eot + FORWARD))


def _fab(given: Any, classes: int) -> float:
    return float(given.restarts * given.steps * (FORWARD * 2 + classes * 2 * FORWARD))


def _fab_t(given: Any, classes: int) -> float:
    aims = targets_among(given.targets, given.first, classes)
    return float(given.restarts * given.steps * aims * (1 + FORWARD))


KINDS: dict[str, Kind] = {
    "fgsm": Kind(takes.Fgsm, lambda given, classes: 1 + FORWARD, by_scale=True),
    "pgd": Kind(takes.Pgd, _descent, draws=True, by_scale=True),
    "mifgsm": Kind(takes.Momentum, _descent, by_scale=True),
    "nifgsm": Kind(
        takes.Momentum, lambda given, classes: _descent(given, classes) + FORWARD * given.steps, by_scale=True
    ),
    "upgd_margin": Kind(takes.Upgd, _descent),
    "upgd_dlr": Kind(takes.Upgd, _descent),
    "apgd_ce": Kind(takes.Apgd, _apgd, draws=True, by_scale=True),
    "apgd_dlr": Kind(takes.Apgd, _apgd, draws=True),
    "apgd_t": Kind(takes.ApgdT, _apgd, draws=True),
    "fab": Kind(takes.Fab, _fab),
    "fab_t": Kind(takes.FabT, _fab_t),
    "square": Kind(takes.Square, lambda given, classes: FORWARD * given.queries * given.restarts, draws=True),
    "cw": Kind(takes.Cw, lambda given, classes: given.searches * given.steps + FORWARD, norms=("L2",)),
    "deepfool": Kind(
        takes.DeepFool,
        lambda given, classes: given.steps * FORWARD * (1 + 2 * min(given.candidates, classes)),
        norms=("L2",),
    ),
}

LEFT_OUT: dict[str, str] = {
    "autoattack": "it is a cascade, not one attack: `attack: autoattack`",
    "bim": "it is pgd with `random_start: false`",
    "eotpgd": "it is pgd with `eot` above 1",
    "pgdl2": "it is pgd with `norm: L2`",
    "upgd": "it is upgd_margin, upgd_dlr or, with cross-entropy, mifgsm",
    "apgd": "it is apgd_ce or apgd_dlr",
    "apgdt": "it is apgd_t",
    "ffgsm": "it is one step of pgd from a random start",
    "rfgsm": "it is pgd with a start that its own ball does not bound",
    "tpgd": "it maximises the divergence from the clean prediction and never looks at the label",
    "jsma": "its ball is L0, and it ignores eps",
    "sparsefool": "its ball is L0, and it ignores eps",
    "onepixel": "its ball is L0",
    "pixle": "its ball is L0",
    "eadl1": "its ball is L1",
    "eaden": "its ball is a mixture of L1 and L2",
    "gn": "it is Gaussian noise, which stays in no ball",
    "difgsm": "it is made to transfer to other models, and weaker than pgd on the model itself",
    "tifgsm": "it is made to transfer to other models, and weaker than pgd on the model itself",
    "sinifgsm": "it is made to transfer to other models, and weaker than nifgsm on the model itself",
    "vmifgsm": "it is made to transfer to other models, and weaker than mifgsm on the model itself",
    "vnifgsm": "it is made to transfer to other models, and weaker than nifgsm on the model itself",
    "pifgsm": "it is made to transfer to other models",
    "pifgsmpp": "it is made to transfer to other models",
    "pgdrs": "it is made for randomised smoothing",
    "pgdrsl2": "it is made for randomised smoothing",
    "jitter": "it divides the logits by the largest, which leaves two of opposite sign without a gradient",
    "spsa": "it estimates by queries a gradient that is at hand; square is the better query attack",
}
"""Attacks of torchattacks that a suite cannot name, and why."""


def kind_of(name: str, *, key: str | None = None) -> Kind:
    """The row of an attack.

    Raises:
        UserError: no such attack; says the nearest one, or why it is left out.
    """
    if name in KINDS:
        return KINDS[name]
    folded = name.lower().replace("-", "").replace("_", "")
    if folded in LEFT_OUT:
        raise UserError(f"this attack is not offered: {LEFT_OUT[folded]}", key=key, found=name)
    raise UserError(
        "unknown attack",
        key=key,
        found=name,
        expected=f"one of: {', '.join(sorted(KINDS))}",
        nearest=nearest(name, KINDS),
    )


def arguments_of(
    name: str, norm: str, given: Mapping[str, Any] | None = None, *, key: str | None = None
) -> dict[str, Any]:
    """The arguments of an attack with every default filled in.

    Args:
        name: as a suite names it.
        norm: Linf or L2.
        given: what the suite says; radius, seed and logits' scale are no arguments.
        key: where it stands in the suite, for the errors.

    Raises:
        UserError: unknown attack, a norm that it does not exist for, unknown or wrong arguments.
    """
    kind = kind_of(name, key=key)
    if norm not in NORMS:
        raise UserError(
            "unknown norm", key=key, found=norm, expected="Linf or L2", nearest=nearest(norm, NORMS)
        )
    if norm not in kind.norms:
        only = " and ".join(kind.norms)
        raise UserError(
            f"{name} minimises the {only} distance and exists in no other norm", key=key, found=norm
        )
    given = dict(given or {})
    where = key or name
    try:
        return kind.takes.model_validate(given).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        argument = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            valid = list(kind.takes.model_fields)
            raise UserError(
                f"{name} takes no such argument",
                key=f"{where}.{argument}",
                found=given[argument],
                expected=f"one of: {', '.join(valid)}" if valid else "none, it takes no arguments",
                nearest=nearest(argument, valid),
            ) from None
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(message, key=f"{where}.{argument}".rstrip("."), found=first["input"]) from None


def passes_of(name: str, arguments: Mapping[str, Any], classes: int) -> float:
    """The rough cost of an attack on an image that resists it, in passes.

    Args:
        name: of the attack.
        arguments: all of them, as `arguments_of` gives them.
        classes: how many are in play.
    """
    kind = kind_of(name)
    return kind.passes(kind.takes.model_validate(dict(arguments)), classes)


def refusal(name: str, norm: Norm, classes: int, shape: tuple[int, int, int]) -> str | None:
    """Why an attack cannot be made on these images and classes, in a clause; None where it can.

    Args:
        name: of the attack.
        norm: of the ball.
        classes: how many are in play.
        shape: channels, height and width of the images.
    """
    if classes < 2:
        return f"with {classes} class in play there is no other to be taken for"
    kind = kind_of(name)
    _, height, width = shape
    if kind.takes is takes.Square and not _tiles(norm, height, width):
        return f"square has no start in {norm} for images of {height} x {width} pixels"
    return None


def _tiles(norm: Norm, height: int, width: int) -> bool:
    """Whether Square's squares fit: those of the L2 start lie in a grid of a fifth of the side."""
    if height != width:
        return False
    if norm == "Linf":
        return True
    side = height // 5
    return side == 1 or (side > 1 and (height - 5 * side) // 2 + side * (height // side) <= height)
