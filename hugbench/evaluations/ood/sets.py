"""Which data sets are asked about, near and far, of those that lie in the data folder. No torch.

Near: the same kind of picture (photographs of things; handwriting), other classes. Far: another kind. Sets
that share a class with the training set (the digits of MNIST and SVHN) are neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugbench.data import catalogue
from hugbench.data.known import KNOWN
from hugbench.data.listing import class_folders, plain
from hugbench.errors import UserError, nearest

NEAR: dict[str, tuple[str, ...]] = {
    "cifar10": ("cifar100",),
    "cifar100": ("cifar10",),
    "digits": ("kmnist",),
    "fashion_mnist": (),
    "imagenet": (),
    "kmnist": ("mnist", "digits"),
    "mnist": ("kmnist",),
    "svhn": (),
}
FAR: dict[str, tuple[str, ...]] = {
    "cifar10": ("svhn", "fashion_mnist", "mnist", "kmnist", "digits"),
    "cifar100": ("svhn", "fashion_mnist", "mnist", "kmnist", "digits"),
    "digits": ("fashion_mnist", "cifar10", "cifar100"),
    "fashion_mnist": ("mnist", "kmnist", "digits", "svhn", "cifar10", "cifar100"),
    "imagenet": ("svhn", "mnist", "kmnist", "digits"),  # it shows cats and sandals, under other names
    "kmnist": ("fashion_mnist", "svhn", "cifar10", "cifar100"),
    "mnist": ("fashion_mnist", "cifar10", "cifar100"),
    "svhn": ("cifar10", "cifar100", "fashion_mnist", "kmnist"),
}
"""The sets that are asked about where a suite names none, by the name of the training set."""


@dataclass(frozen=True)
class Sets:
    """Names of data sets: near and far that are there, and those of the tables that are not."""

    near: tuple[str, ...]
    far: tuple[str, ...]
    absent: tuple[str, ...]


def check_arguments(*, near: tuple[str, ...], far: tuple[str, ...], **_: Any) -> None:
    """See that no set is named twice.

    Raises:
        UserError: one is.
    """
    names = [*near, *far]
    for name in names:
        if names.count(name) > 1:
            both = name in near and name in far
            raise UserError(
                "a data set is named twice",
                key="evaluations.ood.far" if name in far else "evaluations.ood.near",
                found=name,
                expected="it in near or in far" if both else "every set once",
            )


def choose(
    name: str, classes: tuple[str, ...], root: Path, near: tuple[str, ...], far: tuple[str, ...]
) -> Sets:
    """The sets to ask about.

    Args:
        name: of the training set.
        classes: its class names.
        root: the data folder.
        near, far: as a suite names them; empty: those of `NEAR` and `FAR` that are in the data folder.

    Raises:
        UserError: a named set is not in the data folder, or has a class in common with the training set.
    """
    for kind, names in (("near", near), ("far", far)):
        for other in names:
            _check(other, name, classes, root, f"evaluations.ood.{kind}")
    usual_near = () if near else tuple(other for other in NEAR.get(name, ()) if other not in far)
    usual_far = () if far else tuple(other for other in FAR.get(name, ()) if other not in near)
    there = {other for other in (*usual_near, *usual_far) if _there(other, root)}
    return Sets(
        near or tuple(other for other in usual_near if other in there),
        far or tuple(other for other in usual_far if other in there),
        tuple(other for other in (*usual_near, *usual_far) if other not in there),
    )


def _there(name: str, root: Path) -> bool:
    """Whether a set is in the data folder. A folder that is itself a data set is that of the training set."""
    found = catalogue.find(name, root)
    return found is not None and not (name in KNOWN and found.form == "folder" and found.path == root)


def _check(other: str, name: str, classes: tuple[str, ...], root: Path, key: str) -> None:
    if other != name and not _there(other, root):
        folders = sorted(path.parent.name for path in root.glob("*/train")) if root.is_dir() else []
        known = sorted({*KNOWN, *folders})
        here = [found for found in known if found != name and _there(found, root)]
        raise UserError(
            "this data set is not in the data folder, and nothing is downloaded for an evaluation"
            if other in KNOWN
            else "unknown data set",
            where=root,
            key=key,
            found=other,
            expected=f"one of those that are there: {', '.join(here)}",
            nearest=None if other in KNOWN else nearest(other, known),
        )
    common = sorted(set(map(plain, _classes(other, root))) & set(map(plain, classes)))
    if other == name or common:
        told = f"{len(common)} of its classes, such as {common[0]}, are" if common else "its images are"
        raise UserError(
            f"{told} also trained on, so it is not out of distribution",
            key=key,
            found=other,
            expected=f"a data set of other classes than {name}",
        )


def _classes(name: str, root: Path) -> tuple[str, ...]:
    """The class names of a set that is in the data folder."""
    if name in KNOWN and KNOWN[name].classes:
        return KNOWN[name].classes
    found = catalogue.find(name, root)
    assert found is not None
    assert found.path is not None
    return class_folders(found.path / "train")
