from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hugbench.data.known import KNOWN
from hugbench.data.listing import list_folder
from hugbench.errors import UserError
from tests.unit.data.make import write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path, ["rose", "Tulip", "10", "9"], train=2, test=1)
    return tmp_path


def test_classes_and_files_by_name(folder: Path) -> None:
    (folder / "train" / "rose" / "notes.txt").touch()
    (folder / "train" / "rose" / "._000.png").touch()
    (folder / "train" / ".cache").mkdir()
    shutil.copy(folder / "train" / "rose" / "000.png", folder / "train" / "rose" / "z.JPEG")
    found = list_folder(folder)
    assert found.classes == ("10", "9", "Tulip", "rose")
    assert found.train.labels == (0, 0, 1, 1, 2, 2, 3, 3, 3)
    assert found.train.files[-3:] == ("train/rose/000.png", "train/rose/001.png", "train/rose/z.JPEG")
    assert found.test.files[0] == "test/10/000.png"
    assert found.test.labels == (0, 1, 2, 3)


def test_the_fingerprint_tells_every_change(folder: Path) -> None:
    file = folder / "test" / "rose" / "000.png"
    before = list_folder(folder).fingerprint
    assert list_folder(folder).fingerprint == before
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    seen = {before, list_folder(folder).fingerprint}
    file.write_bytes(file.read_bytes() + b"x")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    seen.add(list_folder(folder).fingerprint)
    file.rename(file.with_name("001.png"))
    seen.add(list_folder(folder).fingerprint)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        ("test/rose", "test: classes are missing: rose"),
        ("train/rose", "train: classes are missing: rose"),
        ("test", "test: no such folder"),
        ("train", "train: no such folder"),
        ("train/rose/*", "rose: no images"),
    ],
)
def test_what_is_missing_is_named(folder: Path, remove: str, words: str) -> None:
    if remove.endswith("*"):
        for file in folder.glob(remove):
            file.unlink()
    else:
        shutil.rmtree(folder / remove)
    with pytest.raises(UserError, match=words):
        list_folder(folder)


def test_many_missing_classes_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, [f"c{index:02}" for index in range(20)], train=1, test=1)
    for index in range(12):
        shutil.rmtree(tmp_path / "test" / f"c{index:02}")
    with pytest.raises(UserError, match="missing: c00, c01, c02, c03, c04, c05, c06, c07 and 4 more"):
        list_folder(tmp_path)


def test_one_class_or_none_is_no_data_set(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", ["a"])
    with pytest.raises(UserError, match=r"one class alone.*at least two"):
        list_folder(tmp_path / "one")
    for part in ("train", "test"):
        (tmp_path / "none" / part).mkdir(parents=True)
    with pytest.raises(UserError, match="no folder of a class"):
        list_folder(tmp_path / "none")


FASHION = [
    "t-shirt_top",
    "trouser",
    "Pullover",
    "dress",
    "coat",
    "sandal",
    "SHIRT",
    "8",
    "sneaker",
    "ankle boot",
]


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("cifar100", list(KNOWN["cifar100"].classes)),
        ("mnist", list("0123456789")),
        ("fashion_mnist", FASHION),
        ("cifar10", [str(index) for index in range(10)]),
    ],
)
def test_a_known_set_has_its_own_labels(tmp_path: Path, name: str, folders: list[str]) -> None:
    write_folder(tmp_path, folders, train=1, test=1)
    known = KNOWN[name]
    found = list_folder(tmp_path, known)
    assert found.classes == known.classes
    for file, label in zip(found.train.files, found.train.labels, strict=True):
        plain = "".join(filter(str.isalnum, file.split("/")[1].lower()))
        names = {"".join(filter(str.isalnum, known.classes[label].lower())), str(label)}
        assert plain in names
    if name == "cifar100":
        assert found.train.files == list_folder(tmp_path).train.files


def test_a_known_set_must_have_its_own_classes(tmp_path: Path) -> None:
    classes = [name for name in KNOWN["cifar10"].classes if name not in {"cat", "dog"}]
    write_folder(tmp_path, [*classes, "cow"], train=1, test=1)
    with pytest.raises(UserError, match="not those of cifar10: missing cat, dog; not of it cow"):
        list_folder(tmp_path, KNOWN["cifar10"])
    assert len(list_folder(tmp_path).classes) == 9


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, [*KNOWN["cifar10"].classes, "3"], train=1, test=1)
    with pytest.raises(UserError, match="not of it"):
        list_folder(tmp_path, KNOWN["cifar10"])


def test_val_is_the_test_set_where_test_has_no_classes(folder: Path) -> None:
    listed = list_folder(folder)
    (folder / "test").rename(folder / "val")
    found = list_folder(folder)
    assert found.test.files == tuple(file.replace("test/", "val/") for file in listed.test.files)
    assert found.test.labels == listed.test.labels
    (folder / "test" / ".hidden").mkdir(parents=True)
    (folder / "test" / "ILSVRC2012_test_00000001.JPEG").touch()  # without labels, as ImageNet has them
    assert list_folder(folder) == found
    shutil.copytree(folder / "val", folder / "test", dirs_exist_ok=True)
    assert list_folder(folder).test.files == listed.test.files
    shutil.rmtree(folder / "test")
    shutil.rmtree(folder / "val" / "rose")
    with pytest.raises(UserError, match="val: classes are missing: rose"):
        list_folder(folder)


def test_imagenets_classes_are_called_as_their_folders(tmp_path: Path) -> None:
    names = [f"n{number:08}" for number in range(1000)]
    for part in ("train", "val"):
        for name in reversed(names):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / f"{name}_1.JPEG").touch()
    found = list_folder(tmp_path, KNOWN["imagenet"])
    assert found.classes == tuple(names)
    assert found.train.labels == tuple(range(1000))
    for part in ("train", "val"):
        shutil.rmtree(tmp_path / part / names[3])
    with pytest.raises(UserError, match=r"not those of imagenet; found '999 folders'; expected 1000"):
        list_folder(tmp_path, KNOWN["imagenet"])
