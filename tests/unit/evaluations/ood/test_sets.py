"""Which sets are asked about, and what a suite may not name."""

from __future__ import annotations

import pytest

from hugbench.data.known import KNOWN
from hugbench.errors import UserError
from hugbench.evaluations.ood.sets import FAR, NEAR, check_arguments, choose

DIGITS = KNOWN["digits"].classes


@pytest.fixture
def root(tmp_path):
    """A data folder with CIFAR-100 and two sets of someone's own as folders, and Fashion-MNIST's files."""
    for name, classes in {
        "cifar100": KNOWN["cifar100"].classes,
        "leaves": ("oak", "elm"),
        "coast": ("Sea", "dune"),
    }.items():
        for part in ("train", "test"):
            for folder in classes:
                (tmp_path / name / part / folder).mkdir(parents=True)
    for file in KNOWN["fashion_mnist"].files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def test_the_tables_name_known_sets_of_other_classes_once():
    assert NEAR.keys() == FAR.keys() == KNOWN.keys()
    for name in KNOWN:
        others = [*NEAR[name], *FAR[name]]
        assert len(set(others)) == len(others)
        for other in others:
            assert not set(KNOWN[other].classes) & set(KNOWN[name].classes)


def test_the_tables_where_nothing_is_named(root):
    found = choose("digits", DIGITS, root, (), ())
    assert found.near == ()
    assert found.far == ("fashion_mnist", "cifar100")
    assert found.absent == ("kmnist", "cifar10")
    assert choose("cifar10", KNOWN["cifar10"].classes, root, (), ()).near == ("cifar100",)


def test_a_data_folder_that_is_a_data_set_holds_no_other(root):
    itself = root / "cifar100"
    found = choose("cifar100", KNOWN["cifar100"].classes, itself, (), ())
    assert (found.near, found.far) == ((), ("digits",))
    assert "cifar10" in found.absent
    with pytest.raises(UserError, match="not in the data folder"):
        choose("cifar100", KNOWN["cifar100"].classes, itself, ("svhn",), ())


def test_digits_are_always_there(tmp_path):
    assert choose("fashion_mnist", KNOWN["fashion_mnist"].classes, tmp_path, (), ()).far == ("digits",)


def test_a_set_of_ones_own_has_no_table(root):
    assert choose("leaves", ("oak", "elm"), root, (), ()).absent == ()


def test_a_named_set_leaves_its_table_and_takes_itself_out_of_the_other(root):
    found = choose("digits", DIGITS, root, ("cifar100",), ())
    assert found.near == ("cifar100",)
    assert found.far == ("fashion_mnist",)
    assert found.absent == ("cifar10",)
    found = choose("digits", DIGITS, root, (), ("leaves", "coast"))
    assert found.far == ("leaves", "coast")


@pytest.mark.parametrize("kind", ["near", "far"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("svhn", "not in the data folder, and nothing is downloaded"),
        ("leafs", "unknown data set"),
    ],
)
def test_a_named_set_must_be_there(root, kind, name, words):
    with pytest.raises(UserError, match=words) as caught:
        choose("digits", DIGITS, root, **{"near": (), "far": (), kind: (name,)})
    assert caught.value.key == f"evaluations.ood.{kind}"
    assert "cifar100, coast, fashion_mnist, leaves" in caught.value.expected
    assert caught.value.nearest == {"svhn": None, "leafs": "leaves"}[name]


def test_an_empty_or_missing_folder_is_no_crash(tmp_path):
    with pytest.raises(UserError, match="unknown data set"):
        choose("digits", DIGITS, tmp_path / "nowhere", ("leaves",), ())


def test_a_set_may_not_share_a_class(root):
    with pytest.raises(UserError, match="1 of its classes, such as sea, are also trained on"):
        choose("cifar100", KNOWN["cifar100"].classes, root, ("coast",), ())
    with pytest.raises(UserError, match="also trained on"):
        choose("mnist", DIGITS, root, (), ("digits",))


@pytest.mark.parametrize(
    ("near", "far", "key"),
    [
        (("svhn",), ("svhn",), "far"),
        (("svhn", "svhn"), (), "near"),
        ((), ("mnist", "svhn", "mnist"), "far"),
    ],
)
def test_no_set_is_named_twice(near, far, key):
    with pytest.raises(UserError, match="named twice") as caught:
        check_arguments(near=near, far=far, synthetic=True, k=3, max_images=4)
    assert caught.value.key == f"evaluations.ood.{key}"


def test_sets_named_once_are_fine():
    check_arguments(near=("svhn",), far=("mnist",), synthetic=True, k=3, max_images=4)
