"""Folders in CIFAR-C's layout: which are read, in which order, and which are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hugbench.data.images import ResidentImages
from hugbench.errors import UserError
from hugbench.evaluations.corruption.folder import find_folder, open_folder
from hugbench.evaluations.corruption.origin import preflight
from tests.unit.evaluations.corruption.make import CPU, all_pixels, dataset, images, published

ARGUMENTS = {
    "kinds": ("fog",),
    "severities": (1, 2, 3, 4, 5),
    "seed": 0,
    "source": "auto",
    "folder": None,
    "frost_dir": None,
}


def opened(path: Path, split: ResidentImages, kinds=("fog",), severities=(1, 5)):
    return open_folder(path, dataset(split), kinds, severities)


def as_read(folder, split, kind: str, severity: int) -> np.ndarray:
    """All images of the split from the folder, two at a time, (N, H, W, C)."""
    batches = [folder.images(kind, severity, indices, CPU) for indices in torch.arange(len(split)).split(2)]
    return torch.cat(batches).permute(0, 2, 3, 1).numpy()


def expected(split, severity: int, place: int = 0) -> np.ndarray:
    return np.minimum(all_pixels(split).astype(int) + 10 * severity + place, 255)


ORDERS = {
    "the same": np.arange(24),
    "by class": np.argsort(np.arange(24) % 4, kind="stable"),
    "any": np.random.default_rng(0).permutation(24),
    "other images of the same label": np.arange(24).reshape(6, 4)[::-1].ravel(),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("subset", [False, True])
def test_every_image_gets_its_own_corrupted_version(tmp_path: Path, order, subset: bool, device) -> None:
    whole = images()
    published(tmp_path, whole, order=order)
    split = whole.subset(torch.tensor([2, 3, 5, 8, 9, 14, 23])) if subset else whole
    folder = opened(tmp_path, split)
    for severity in (1, 5):
        assert np.array_equal(as_read(folder, split, "fog", severity), expected(split, severity))
    on_device = folder.images("fog", 1, torch.tensor([1, 0]), device)
    assert on_device.device.type == device.type
    assert on_device.dtype == torch.uint8
    assert on_device.is_contiguous()


def test_two_images_that_are_the_same_are_no_obstacle(tmp_path: Path) -> None:
    pixels = torch.from_numpy(all_pixels(images())).permute(0, 3, 1, 2).contiguous()
    pixels[8] = pixels[4]
    twins = ResidentImages(pixels, images().targets)
    published(tmp_path, twins, order=ORDERS["any"])
    assert np.array_equal(as_read(opened(tmp_path, twins), twins, "fog", 1), expected(twins, 1))


def test_labels_alone_decide_where_nothing_brighter_is_there(tmp_path: Path) -> None:
    published(tmp_path, images(), kinds=("fog",))
    assert opened(tmp_path, images()).rows.tolist() == list(range(24))
    published(tmp_path, images(), kinds=("fog",), order=ORDERS["by class"])
    with pytest.raises(UserError, match=r"not those of this data set.*another order"):
        opened(tmp_path, images())


def test_other_images_are_refused(tmp_path: Path) -> None:
    published(tmp_path, images(seed=7))
    with pytest.raises(UserError, match="look like none of the test images"):
        opened(tmp_path, images())
    fewer = images().subset(torch.arange(20))
    published(tmp_path, fewer)
    with pytest.raises(UserError, match="5 images of class 0, of which there are 6"):
        opened(tmp_path, images())


def spoil(path: Path, what: str) -> None:
    fog = np.load(path / "fog.npy")
    labels = np.load(path / "labels.npy")
    if what == "type":
        np.save(path / "fog.npy", fog.astype(np.float32) / 255)
    elif what == "layout":
        np.save(path / "fog.npy", fog.transpose(0, 3, 1, 2).copy())
    elif what == "length":
        np.save(path / "fog.npy", fog[:-1])
    elif what == "cut":
        (path / "fog.npy").write_bytes((path / "fog.npy").read_bytes()[:-9])
    elif what == "pickle":
        np.save(path / "fog.npy", np.array([{}], dtype=object), allow_pickle=True)
    elif what == "missing":
        (path / "fog.npy").unlink()
    elif what == "no labels":
        (path / "labels.npy").unlink()
    elif what == "half labels":
        np.save(path / "labels.npy", labels[:24])
    elif what == "labels of text":
        np.save(path / "labels.npy", labels.astype(str))
    elif what == "labels by severity":
        np.save(path / "labels.npy", np.sort(labels))
    elif what == "damaged":
        (path / "corruption.json").write_text("{")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("type", r"fog.npy: not the corrupted images.*float32.*expected uint8 \(120, 8, 8, 3\)"),
        ("layout", r"found 'uint8 \(120, 3, 8, 8\)'"),
        ("length", r"found 'uint8 \(119, 8, 8, 3\)'"),
        ("cut", "fog.npy: cannot be read"),
        ("pickle", "fog.npy: cannot be read"),
        ("missing", "fog.npy: no such file.*of these there are brightness"),
        ("no labels", "labels.npy: no such file"),
        ("half labels", "labels.npy: not labels"),
        ("labels of text", "labels.npy: not labels"),
        ("labels by severity", "the labels differ between severities"),
        ("damaged", "corruption.json: is damaged"),
    ],
)
def test_a_wrong_folder_is_one_error_before_any_work(tmp_path: Path, what: str, words: str) -> None:
    published(tmp_path / "CIFAR-10-C", images())
    preflight(dataset(name="cifar10"), tmp_path, **ARGUMENTS)
    spoil(tmp_path / "CIFAR-10-C", what)
    with pytest.raises(UserError, match=words):
        preflight(dataset(name="cifar10"), tmp_path, **ARGUMENTS)
    preflight(dataset(name="cifar10"), tmp_path, **{**ARGUMENTS, "source": "own"})
    preflight(dataset(name="cifar100"), tmp_path, **ARGUMENTS)  # has no folder: its images are made


def test_which_folder_is_meant(tmp_path: Path) -> None:
    assert find_folder("cifar10", tmp_path, "auto", None) is None
    with pytest.raises(UserError, match="CIFAR-10-C: no such folder"):
        find_folder("cifar10", tmp_path, "folder", None)
    (tmp_path / "CIFAR-10-C").mkdir()
    assert find_folder("cifar10", tmp_path, "auto", None) == tmp_path / "CIFAR-10-C"
    assert find_folder("cifar10", tmp_path, "folder", None) == tmp_path / "CIFAR-10-C"
    assert find_folder("cifar10", tmp_path, "own", None) is None
    assert find_folder("digits", tmp_path, "auto", None) is None
    with pytest.raises(UserError, match="no published corrupted images of digits"):
        find_folder("digits", tmp_path, "folder", None)
    with pytest.raises(UserError, match="mine: no such folder"):
        find_folder("digits", tmp_path, "auto", "mine")
    assert find_folder("digits", tmp_path, "auto", str(tmp_path)) == tmp_path


def test_a_folder_of_hugbench_is_of_one_data_set(tmp_path: Path) -> None:
    published(tmp_path, images())
    told = {"data_sha256": "0" * 64, "split": "test", "severities": [5, 1, 2, 3, 4], "seed": 3}
    (tmp_path / "corruption.json").write_text(json.dumps(told))
    folder = opened(tmp_path, images())
    assert np.array_equal(as_read(folder, images(), "fog", 5), expected(images(), 1))  # 5 is the first part
    for change in ({"data_sha256": "1" * 64}, {"split": "train"}):
        (tmp_path / "corruption.json").write_text(json.dumps({**told, **change}))
        with pytest.raises(UserError, match="made from other images"):
            opened(tmp_path, images())
    (tmp_path / "corruption.json").write_text(json.dumps({**told, "severities": [1, 2, 3, 4]}))
    with pytest.raises(UserError, match=r"lacks a severity; found \[5\]"):
        opened(tmp_path, images())


def test_the_checksum_follows_the_files(tmp_path: Path) -> None:
    files = published(tmp_path, images())
    before = opened(tmp_path, images()).checksum()
    assert opened(tmp_path, images()).checksum() == before
    assert set(opened(tmp_path, images()).checksums()) == {"fog.npy", "labels.npy"}
    files["fog"][0] ^= 1
    np.save(tmp_path / "fog.npy", files["fog"])
    assert opened(tmp_path, images()).checksum() != before
