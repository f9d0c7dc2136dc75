from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hugbench.data import samples
from hugbench.data.listing import list_folder
from hugbench.data.samples import SAMPLE, contents
from hugbench.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of which nobody will find out that they are no images."""
    for part, count in (("train", 3), ("test", 2)):
        for label in ("a", "b"):
            (tmp_path / "set" / part / label).mkdir(parents=True)
            for index in range(count):
                content = bytes([index, ord(label), len(part)]) * (5000 * index + 1)
                (tmp_path / "set" / part / label / f"{index}.JPEG").write_bytes(content)
    return tmp_path / "set"


def of(folder: Path) -> str:
    return contents(list_folder(folder))


def test_copies_are_the_same_whenever_made_and_whatever_the_test_part_is_called(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    found = of(folder)
    assert found.startswith("samples-")
    assert len(found) == len("samples-") + 64
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "test").rename(tmp_path / "copy" / "val")
    os.utime(tmp_path / "copy" / "train" / "a" / "1.JPEG", ns=(1, 1))
    monkeypatch.setattr(samples, "_CHUNK", 2)
    assert of(tmp_path / "copy") == found


def test_every_difference_that_is_looked_at_is_told(folder: Path) -> None:
    file = folder / "train" / "b" / "2.JPEG"
    seen, content = {of(folder)}, file.read_bytes()
    middle = len(content) // 2
    for at in (middle, (len(content) - SAMPLE) // 2, (len(content) + SAMPLE) // 2 - 1):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        seen.add(of(folder))
    file.write_bytes(content + b"\0")
    seen.add(of(folder))
    file.write_bytes(content)
    assert of(folder) in seen
    file.rename(file.with_name("4.JPEG"))
    seen.add(of(folder))
    shutil.move(file.with_name("4.JPEG"), folder / "test" / "b" / "2.JPEG")
    seen.add(of(folder))
    for part in ("train", "test"):
        (folder / part / "a").rename(folder / part / "c")  # the labels change places
    seen.add(of(folder))
    assert len(seen) == 8


def test_a_file_that_has_gone_is_named(folder: Path) -> None:
    listing = list_folder(folder)
    (folder / "test" / "b" / "1.JPEG").unlink()
    with pytest.raises(UserError, match=r"test/b/1\.JPEG: cannot be read \(No such file"):
        contents(listing)
