"""Images in folders: `FOLDER/{train,test}/CLASS/*.png`, listed without opening any. No torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hugbench.data.known import Known
from hugbench.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Part:
    """The files of one split, by class and then by name.

    Attributes:
        files: paths relative to the folder, with forward slashes.
        labels: one for every file.
    """

    files: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes:
        folder: holds `train` and `test`.
        classes: label i is `classes[i]`.
        train, test: the files.
        fingerprint: sha256 over path, size and time of change of all files, and their labels.
    """

    folder: Path
    classes: tuple[str, ...]
    train: Part
    test: Part
    fingerprint: str


def list_folder(folder: Path, known: Known | None = None) -> Listing:
    """List the images of a folder.

    The classes are the folders within `train`, and those within `test` must be the same. Their
    labels follow the order of their names (as text, so `10` precedes `2`). Under the name of a
    known set the folders must be its classes, each called by its name (capitals, blanks and
    punctuation do not matter) or its number, and the labels are those of the set; where it has no
    names, as many folders as it has classes, and these are the names.

    Hidden files and files that are neither png, jpg, jpeg nor webp are passed over.

    Raises:
        UserError: a part or a class is missing or has no images; the classes of train and test
            differ, or are not those of the known set; a folder cannot be read.
    """
    parts = folder / "train", test_folder(folder)
    names, of_test = (class_folders(part) for part in parts)
    _same_classes(parts, names, of_test)
    ordered = _in_order(folder, names, known)
    if len(ordered) < 2:
        raise UserError("one class alone", where=folder / "train", found=ordered, expected="at least two")
    digest = hashlib.sha256()
    train, test = (_part(part, ordered, digest.update) for part in parts)
    classes = (known and known.classes) or ordered
    return Listing(folder, classes, train, test, digest.hexdigest())


def test_folder(folder: Path) -> Path:
    """Where the test images of a data set are: `test`, or `val` if only there are folders of classes.

    ImageNet's own test images have no labels; everyone tests on those for validation.
    """
    test, val = folder / "test", folder / "val"
    return val if not _holds_folders(test) and _holds_folders(val) else test


def class_folders(part: Path) -> tuple[str, ...]:
    """Names of the classes of one split, sorted.

    Raises:
        UserError: there is no such folder, or none within it.
    """
    if not part.is_dir():
        raise UserError("no such folder", where=part, expected=f"{part}/CLASS/*.png (or jpg, jpeg, webp)")
    found = tuple(entry.name for entry in _entries(part) if entry.is_dir())
    if not found:
        raise UserError("no folder of a class in it", where=part, expected=f"{part}/CLASS/*.png")
    return found


def image_count(folder: Path) -> int:
    """How many images the folder of a class holds.

    Raises:
        UserError: it cannot be read.
    """
    return len(_images(folder))


def _images(folder: Path) -> list[os.DirEntry[str]]:
    return [e for e in _entries(folder) if e.name.lower().endswith(SUFFIXES) and e.is_file()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without hidden entries."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=folder) from error


def _holds_folders(path: Path) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)
    except OSError:
        return False


def _same_classes(parts: tuple[Path, Path], train: Sequence[str], test: Sequence[str]) -> None:
    for part, own, other in ((parts[1], test, train), (parts[0], train, test)):
        if missing := sorted(set(other) - set(own)):
            raise UserError(f"classes are missing: {_some(missing)}", where=part)


def _in_order(folder: Path, names: tuple[str, ...], known: Known | None) -> tuple[str, ...]:
    """Names of the folders in the order of their labels."""
    if known is None:
        return names
    if not known.classes:
        if len(names) != known.folders:
            raise UserError(
                f"the classes are not those of {known.name}",
                where=folder / "train",
                found=f"{len(names)} folders",
                expected=f"{known.folders}; a set of your own needs a name of its own",
            )
        return names
    labels = {str(label): label for label in range(len(known.classes))}
    labels |= {plain(name): label for label, name in enumerate(known.classes)}
    placed = {labels[plain(name)]: name for name in names if plain(name) in labels}
    alien = [name for name in names if name not in placed.values()]
    missing = [name for label, name in enumerate(known.classes) if label not in placed]
    if missing or alien:
        parts = [f"missing {_some(missing)}"] * bool(missing) + [f"not of it {_some(alien)}"] * bool(alien)
        raise UserError(
            f"the classes are not those of {known.name}: {'; '.join(parts)}",
            where=folder / "train",
            expected=f"{len(known.classes)} folders; a set of your own needs a name of its own",
        )
    return tuple(placed[label] for label in range(len(placed)))


def plain(name: str) -> str:
    """The name of a class without capitals, blanks and punctuation, which do not matter."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _part(folder: Path, names: Sequence[str], note: Callable[[bytes], None]) -> Part:
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = _images(folder / name)
        if not found:
            raise UserError("no images", where=folder / name, expected=", ".join(SUFFIXES))
        for entry in found:
            files.append(f"{folder.name}/{name}/{entry.name}")
            labels.append(label)
            state = entry.stat()
            note(os.fsencode(f"{files[-1]}\0{state.st_size}\0{state.st_mtime_ns}\0{label}\n"))
    return Part(tuple(files), tuple(labels))


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
