"""Which data sets there are, and in which form they lie where. No torch, and no image is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hugbench.data.known import KNOWN, Known
from hugbench.data.listing import class_folders, image_count, test_folder
from hugbench.data.longtail import kept_counts
from hugbench.errors import UserError, nearest
from hugbench.suite.schema import DatasetSpec

__all__ = [
    "KNOWN",
    "Found",
    "Known",
    "check",
    "check_tail",
    "class_count",
    "dataset_names",
    "describe",
    "find",
    "unknown",
]


@dataclass(frozen=True)
class Found:
    """Where a data set lies.

    Attributes:
        form: embedded in a package, the files that torchvision reads, or images in folders.
        path: the data folder (torchvision) or the one with `train` and `test`; None if embedded.
    """

    form: Literal["embedded", "torchvision", "folder"]
    path: Path | None = None

    def __str__(self) -> str:
        return self.form if self.path is None else f"{self.path} ({self.form})"


def find(name: str, root: Path) -> Found | None:
    """Where the data set `name` lies under the data folder `root`; None if it does not.

    torchvision's own files come first, then `root/name/{train,test}`, then `root` itself if it has
    `train` and `test` and either is called `name` or `name` is a known set. Test images may lie in
    `val`, see `hugbench.data.listing.test_folder`.
    """
    known = KNOWN.get(name)
    if known is not None and known.embedded:
        return Found("embedded")
    if known is not None and known.files and all((root / file).is_file() for file in known.files):
        return Found("torchvision", root)
    if _holds_parts(root / name, any):
        return Found("folder", root / name)
    own = known is not None or root.absolute().name == name
    if own and _holds_parts(root, all):
        return Found("folder", root)
    return None


def _holds_parts(folder: Path, which: Callable[[Iterable[bool]], bool]) -> bool:
    return which(part.is_dir() for part in (folder / "train", test_folder(folder)))


def dataset_names() -> tuple[str, ...]:
    """The known data sets."""
    return tuple(KNOWN)


def check(name: str, root: Path, *, where: str | Path | None = None) -> None:
    """See that a suite may name this data set. A known one need not be there yet.

    Args:
        name: as in the suite.
        root: the data folder.
        where: what an error points to.

    Raises:
        UserError: neither known nor a folder under `root`.
    """
    if name not in KNOWN and find(name, root) is None:
        raise unknown(name, root, where)


def check_tail(spec: DatasetSpec, root: Path, *, where: str | Path | None = None) -> None:
    """See that the long tail that a suite asks for leaves every class an image.

    Files that are not images in folders are not opened: the smallest class of these is taken to be
    as large as in a balanced set, which is the most it can be.

    Args:
        spec: of the suite.
        root: the data folder.
        where: what an error points to.

    Raises:
        UserError: a class would have no image; or the folders cannot be read.
    """
    if spec.long_tail is None:
        return
    found, known = find(spec.name, root), KNOWN.get(spec.name)
    if found is not None and found.form == "folder" and found.path is not None:
        train = found.path / "train"
        sizes = [image_count(train / name) for name in class_folders(train)]
    elif known is not None:
        sizes = [known.train // known.class_count] * known.class_count
    else:
        raise unknown(spec.name, root, where)
    if len(sizes) < 2 or not all(sizes):
        return  # not a data set, as loading it will say
    left = min(size - round(spec.validation * size) for size in sizes)
    kept_counts(left, len(sizes), spec.long_tail, spec.max_train, where=where)


def class_count(name: str, root: Path) -> int:
    """The number of classes.

    Raises:
        UserError: neither known nor a folder under `root`, or a folder without classes.
    """
    if name in KNOWN:
        return KNOWN[name].class_count
    found = find(name, root)
    if found is None or found.path is None:
        raise unknown(name, root)
    return len(class_folders(found.path / "train"))


def describe(name: str) -> dict[str, Any]:
    """All about a known data set, as plain data; `doc` is the text for people."""
    known = KNOWN[name]
    size, colour = known.image_size, "greyscale" if known.channels == 1 else "colour"
    shape = f"{size}x{size} {colour}" if size else f"{colour}, of different sizes"
    classes = f"{known.class_count} classes" + (f": {', '.join(known.classes)}" if known.classes else "")
    doc = (
        f"{known.title}.\n\n"
        f"{known.train:,} training and {known.test:,} test images, {shape}, {classes}.\n\n"
        f"Source: {known.source}."
    )
    if known.folders:
        doc += f"\n\nFound in the data folder as images in {name}/{{train,val}}/CLASS; not downloaded."
    if known.torchvision:
        doc += (
            f"\n\nFound in the data folder as {', '.join(known.files)} (torchvision's own), or as images "
            f"in {name}/{{train,test}}/CLASS; otherwise downloaded by torchvision."
        )
    return {
        "doc": doc,
        "title": known.title,
        "classes": list(known.classes),
        "channels": known.channels,
        "image_size": size,
        "train": known.train,
        "test": known.test,
        "source": known.source,
    }


def unknown(name: str, root: Path, where: str | Path | None = None) -> UserError:
    """The error that a name is neither known nor a folder under `root`."""
    folders = [path.parent.name for path in root.glob("*/train")] if root.is_dir() else []
    return UserError(
        "unknown data set",
        where=where,
        key="dataset.name",
        found=name,
        expected=f"one of {', '.join(KNOWN)}, or images in {root / name}/{{train,test}}/CLASS",
        nearest=nearest(name, [*KNOWN, *folders]),
    )
