from __future__ import annotations

import hashlib
import pickle
import tarfile
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets

from hugbench.data import catalogue, published
from hugbench.data.known import KNOWN
from hugbench.errors import UserError
from tests.unit.data.make import write_idx


@pytest.fixture
def offline(monkeypatch) -> None:
    """No network, whatever the machine has."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


DIGITS_TEST = "6d486283bf2d09731a5d172f66582ce7594b7ad46c24db2266a686b7e5c34cd7"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root: Path, monkeypatch, kind: type = datasets.CIFAR10) -> dict[str, np.ndarray]:
    """Files in CIFAR's format with a few random images, which torchvision takes for the real ones."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    draw, rows, labels = np.random.default_rng(0), {}, {}
    key = "labels" if kind is datasets.CIFAR10 else "fine_labels"
    for name, _ in kind.train_list + kind.test_list:
        rows[name] = draw.integers(0, 256, (4, 3072), dtype=np.uint8)
        labels[name] = draw.integers(0, 10, 4).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": rows[name], key: labels[name]}))
    names = list(KNOWN["cifar10" if kind is datasets.CIFAR10 else "cifar100"].classes)
    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps({kind.meta["key"]: names}))
    for attribute in ("train_list", "test_list"):
        sums = [[name, md5(folder / name)] for name, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, sums)
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(meta)})
    train = [name for name, _ in kind.train_list]
    test = kind.test_list[0][0]
    return {
        "train": np.concatenate([rows[name] for name in train]).reshape(-1, 3, 32, 32),
        "test": rows[test].reshape(-1, 3, 32, 32),
        "train labels": np.concatenate([labels[name] for name in train]),
        "test labels": np.array(labels[test]),
    }


def write_svhn(root: Path, monkeypatch) -> dict[str, np.ndarray]:
    from scipy.io import savemat

    draw, written, sums = np.random.default_rng(0), {}, {}
    for part in ("train", "test"):
        pixels = draw.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8)
        digits = np.arange(12) % 10 + 1
        file = root / f"{part}_32x32.mat"
        savemat(file, {"X": pixels, "y": digits[:, None].astype(np.uint8)})
        url, name, _ = datasets.SVHN.split_list[part]
        sums[part] = [url, name, md5(file)]
        written[part], written[f"{part} labels"] = pixels.transpose(3, 2, 0, 1), digits % 10
    monkeypatch.setattr(datasets.SVHN, "split_list", {**datasets.SVHN.split_list, **sums})
    return written


def assert_read(name: str, root: Path, written: dict[str, np.ndarray]) -> None:
    for part, (images, labels) in zip(("train", "test"), published.read(KNOWN[name], root), strict=True):
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        assert np.array_equal(images, written[part])
        assert labels.dtype == torch.int64
        assert labels.tolist() == written[f"{part} labels"].tolist()


def parts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        "train": arrays["train-images-idx3-ubyte"][:, None],
        "train labels": arrays["train-labels-idx1-ubyte"],
        "test": arrays["t10k-images-idx3-ubyte"][:, None],
        "test labels": arrays["t10k-labels-idx1-ubyte"],
    }


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_idx_files(tmp_path: Path, offline, name: str) -> None:
    arrays = write_idx(tmp_path / str(KNOWN[name].torchvision) / "raw")
    assert catalogue.find(name, tmp_path).form == "torchvision"
    assert_read(name, tmp_path, parts(arrays))


def test_cifar_files(tmp_path: Path, monkeypatch, offline) -> None:
    for name, kind in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        written = write_cifar(tmp_path, monkeypatch, kind)
        assert catalogue.find(name, tmp_path).form == "torchvision"
        assert_read(name, tmp_path, written)


def test_svhn_files_have_label_0_for_the_digit_0(tmp_path: Path, monkeypatch, offline) -> None:
    written = write_svhn(tmp_path, monkeypatch)
    assert catalogue.find("svhn", tmp_path).form == "torchvision"
    assert 10 not in written["train labels"]
    assert_read("svhn", tmp_path, written)


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08\x01\0\0\0\x02\0\x63", "cut"], ids=["empty", "labels", "cut"]
)
def test_damaged_files_are_told(tmp_path: Path, file: str, content: bytes | str) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw)
    (raw / file).write_bytes((raw / file).read_bytes()[:-5] if isinstance(content, str) else content)
    with pytest.raises(UserError, match="the files of mnist are damaged") as caught:
        published.read(KNOWN["mnist"], tmp_path)
    assert "\n" not in str(caught.value)
    assert "remove them" in str(caught.value)


def test_a_flipped_bit_in_cifar_is_told(tmp_path: Path, monkeypatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    content = file.read_bytes()
    file.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    with pytest.raises(UserError, match="the files of cifar10 are damaged"):
        published.read(KNOWN["cifar10"], tmp_path)


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw)
    before = published.fingerprint(KNOWN["mnist"], tmp_path)
    assert published.fingerprint(KNOWN["mnist"], tmp_path) == before
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"")
    assert published.fingerprint(KNOWN["mnist"], tmp_path) != before


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if known.torchvision])
def test_without_network_it_says_what_to_put_where_and_leaves_nothing(
    tmp_path: Path, offline, name: str
) -> None:
    said: list[str] = []
    root = tmp_path / "some" / "data"
    with pytest.raises(UserError, match=f"{name} is not here and cannot be downloaded") as caught:
        published.download(KNOWN[name], root, said.append)
    message = str(caught.value)
    assert "\n" not in message
    assert "no network" in message
    for word in (*KNOWN[name].archives, str(root), f"{name}/{{train,test}}/CLASS"):
        assert word in message
    assert len(said) == 1
    assert list(tmp_path.iterdir()) == []


def test_archives_that_lie_there_are_unpacked_without_network(tmp_path: Path, monkeypatch, offline) -> None:
    arrays = write_idx(tmp_path / "MNIST" / "raw", compress=True)
    sums = [(name, md5(tmp_path / "MNIST" / "raw" / name)) for name, _ in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    published.download(KNOWN["mnist"], tmp_path, lambda text: None)
    assert_read("mnist", tmp_path, parts(arrays))
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]

    made = tmp_path / "made"
    written = write_cifar(made, monkeypatch)
    root = tmp_path / "cifar"
    root.mkdir()
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(made / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    published.download(KNOWN["cifar10"], root, lambda text: None)
    assert_read("cifar10", root, written)
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", archive.name]
    assert not archive.is_symlink()


def test_half_of_svhn_is_left_as_it_was(tmp_path: Path, monkeypatch, offline) -> None:
    write_svhn(tmp_path, monkeypatch)
    (tmp_path / "test_32x32.mat").unlink()
    before = (tmp_path / "train_32x32.mat").read_bytes()
    with pytest.raises(UserError, match="cannot be downloaded"):
        published.download(KNOWN["svhn"], tmp_path, lambda text: None)
    assert [path.name for path in tmp_path.iterdir()] == ["train_32x32.mat"]
    assert (tmp_path / "train_32x32.mat").read_bytes() == before


def test_a_download_is_put_in_place_and_the_timeout_restored(tmp_path: Path, monkeypatch) -> None:
    import shutil
    import socket

    served = tmp_path / "served"
    served.mkdir()
    written = write_svhn(served, monkeypatch)
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(served / "train_32x32.mat", root)
    waited: list[float | None] = []

    def fetch(url: str, folder: Path, filename: str, checksum: str) -> None:
        waited.append(socket.getdefaulttimeout())
        if not (Path(folder) / filename).exists():
            shutil.copy(served / filename, folder)

    monkeypatch.setattr("torchvision.datasets.svhn.download_url", fetch)
    before = socket.getdefaulttimeout()
    published.download(KNOWN["svhn"], root, lambda text: None)
    assert waited == [published.SECONDS_WITHOUT_AN_ANSWER] * 2
    assert socket.getdefaulttimeout() == before
    assert not (root / "train_32x32.mat").is_symlink()
    assert_read("svhn", root, written)


def test_digits_are_split_for_ever() -> None:
    from sklearn.datasets import load_digits

    (train, train_labels), (test, test_labels) = published.digits()
    assert train.shape == (1437, 1, 8, 8)
    assert test.shape == (360, 1, 8, 8)
    assert torch.bincount(test_labels).tolist() == [36] * 10
    values, labels = load_digits(return_X_y=True)
    expected = sorted(
        (int(label), bytes(int(255 * value / 16 + 0.5) for value in row))
        for row, label in zip(values, labels, strict=True)
    )
    found = [
        (label, image.tobytes())
        for images, targets in ((train, train_labels), (test, test_labels))
        for image, label in zip(images, targets.tolist(), strict=True)
    ]
    assert sorted(found) == expected
    assert hashlib.sha256(test.tobytes()).hexdigest() == DIGITS_TEST
