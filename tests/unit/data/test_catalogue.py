from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hugbench.data import catalogue
from hugbench.data.catalogue import KNOWN, Found
from hugbench.errors import UserError
from hugbench.suite.schema import DatasetSpec, LongTail
from tests.unit.data.make import write_folder, write_photographs

ROOT = Path(__file__).resolve().parents[3]


def touch(root: Path, files: tuple[str, ...]) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def test_it_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from pathlib import Path; from hugbench.data import catalogue as c\n"
        "[c.find(name, Path('nowhere')) for name in c.dataset_names()]\n"
        "assert not {'torch', 'torchvision', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_known_sets_agree_with_torchvision() -> None:
    from torchvision import datasets

    for known in KNOWN.values():
        assert len(set(known.classes)) == len(known.classes)
        if known.torchvision is None:
            continue
        kind = getattr(datasets, known.torchvision)
        if issubclass(kind, datasets.MNIST):
            archives = [f"{known.torchvision}/raw/{name}" for name, _ in kind.resources]
            assert sorted(known.archives) == sorted(archives)
            assert [name.removesuffix(".gz") for name in known.archives] == list(known.files)
        elif known.torchvision == "SVHN":
            assert known.files == tuple(kind.split_list[part][1] for part in ("train", "test"))
        else:
            names = [name for name, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
            assert sorted(known.files) == sorted(f"{kind.base_folder}/{name}" for name in names)
            assert known.archives == (kind.filename,)
    assert KNOWN["kmnist"].classes == tuple(datasets.KMNIST.classes)
    assert KNOWN["fashion_mnist"].classes == tuple(datasets.FashionMNIST.classes)
    assert [name[0] for name in datasets.MNIST.classes] == list(KNOWN["mnist"].classes)
    for name, count in (("cifar10", 10), ("cifar100", 100)):
        assert list(KNOWN[name].classes) == sorted(KNOWN[name].classes)
        assert len(KNOWN[name].classes) == count


def test_digits_are_always_there(tmp_path: Path) -> None:
    found = catalogue.find("digits", tmp_path / "nowhere")
    assert found == Found("embedded")
    assert str(found) == "embedded"


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if known.torchvision])
def test_torchvisions_files_are_found_when_all_are_there(tmp_path: Path, name: str) -> None:
    files = KNOWN[name].files
    touch(tmp_path, files[:-1])
    assert catalogue.find(name, tmp_path) is None
    touch(tmp_path, files)
    found = catalogue.find(name, tmp_path)
    assert found == Found("torchvision", tmp_path)
    write_folder(tmp_path / name, ["a", "b"])
    assert catalogue.find(name, tmp_path) == found


def test_folders_are_found_under_known_and_own_names(tmp_path: Path) -> None:
    for name in ("cifar100", "flowers"):
        assert catalogue.find(name, tmp_path) is None
        (tmp_path / name / "train").mkdir(parents=True)
        assert catalogue.find(name, tmp_path) == Found("folder", tmp_path / name)
        assert str(tmp_path / name) in str(catalogue.find(name, tmp_path))


def test_the_data_folder_may_be_the_set_itself(tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", ["a", "b"])
    assert catalogue.find("flowers", tmp_path / "flowers") == Found("folder", tmp_path / "flowers")
    assert catalogue.find("cifar10", tmp_path / "flowers") == Found("folder", tmp_path / "flowers")
    assert catalogue.find("trees", tmp_path / "flowers") is None


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", ["a", "b"])
    for name in (*KNOWN, "flowers"):
        catalogue.check(name, tmp_path)
    for name, nearest in (("cifar1000", "cifar100"), ("flower", "flowers"), ("MNIST", "mnist")):
        with pytest.raises(UserError, match=f"unknown data set.*did you mean '{nearest}'") as caught:
            catalogue.check(name, tmp_path, where="suite.yaml:3:9")
        assert str(caught.value).startswith("suite.yaml:3:9: dataset.name: ")
    with pytest.raises(UserError, match="expected one of digits, "):
        catalogue.check("trees", tmp_path / "nowhere")


def test_class_counts(tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", ["rose", "tulip", "aster"])
    assert catalogue.class_count("flowers", tmp_path) == 3
    assert catalogue.class_count("cifar100", tmp_path) == 100
    with pytest.raises(UserError, match="unknown data set"):
        catalogue.class_count("flower", tmp_path)


def tailed(name: str, factor: float, **fields: object) -> DatasetSpec:
    return DatasetSpec(name=name, long_tail=LongTail(imbalance_factor=factor), **fields)


def test_a_tail_is_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for factor in (10, 100, 4999):
        catalogue.check_tail(tailed("cifar10", factor), nowhere)
    catalogue.check_tail(DatasetSpec(name="cifar10"), nowhere)
    for spec, key in (
        (tailed("cifar10", 5001), r"long_tail\.imbalance_factor: .*expected less than 5000"),
        (tailed("cifar100", 480, validation=0.1), r"imbalance_factor: .*expected less than 450"),
        (tailed("cifar100", 100, max_train=1000), r"max_train: .*found 1000"),
    ):
        with pytest.raises(UserError, match=key) as caught:
            catalogue.check_tail(spec, nowhere, where="suite.yaml:3:9")
        assert str(caught.value).startswith("suite.yaml:3:9: dataset.")
    with pytest.raises(UserError, match="unknown data set"):
        catalogue.check_tail(tailed("trees", 2), nowhere)


def test_a_tail_of_a_folder_is_checked_by_its_smallest_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", ["a", "b"], train=6)
    (tmp_path / "flowers" / "train" / "b" / "005.png").unlink()
    (tmp_path / "flowers" / "train" / "b" / "notes.txt").touch()
    catalogue.check_tail(tailed("flowers", 5), tmp_path)
    with pytest.raises(UserError, match=r"found 6\.0; expected less than 5"):
        catalogue.check_tail(tailed("flowers", 6), tmp_path)
    write_folder(tmp_path / "one", ["a"])
    catalogue.check_tail(tailed("one", 2), tmp_path)  # loading it says what is wrong


def test_descriptions_are_plain_and_say_where_to_put_what() -> None:
    for name, known in KNOWN.items():
        found = catalogue.describe(name)
        assert known.source in found["doc"]
        assert f"{known.train:,} training" in found["doc"]
        assert found["classes"] == list(known.classes)
        for file in known.files:
            assert file in found["doc"]


def test_imagenet_is_known_without_its_images(tmp_path: Path) -> None:
    assert catalogue.find("imagenet", tmp_path) is None
    catalogue.check("imagenet", tmp_path)
    assert catalogue.class_count("imagenet", tmp_path) == 1000
    doc = catalogue.describe("imagenet")["doc"]
    assert "colour, of different sizes, 1000 classes." in doc
    assert "imagenet/{train,val}/CLASS; not downloaded" in doc
    catalogue.check_tail(tailed("imagenet", 1200), tmp_path)
    with pytest.raises(UserError, match=r"long_tail\.imbalance_factor"):
        catalogue.check_tail(tailed("imagenet", 1300), tmp_path)


def test_val_stands_for_test(tmp_path: Path) -> None:
    write_photographs(tmp_path / "imagenet", ["a", "b"], train=1, test=1)
    expected = Found("folder", tmp_path / "imagenet")
    assert catalogue.find("imagenet", tmp_path) == catalogue.find("imagenet", expected.path) == expected
    assert catalogue.find("digits", tmp_path) == Found("embedded")
